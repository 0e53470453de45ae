/** Axios, signed: an interceptor that lets each request of an instance go out with a signature of its own. */

import {inspect} from 'node:util';

import {AtlSign} from './client.js';
import {checkHeaders, checkUrl, refusal} from './errors.js';
import {collectForm, isForm, readFormText} from './form.js';
import {isRedirect, nextHop, withoutFragment} from './redirects.js';

const REDIRECTS_MAX = 21; // what Axios follows by default
const BASE = Symbol('the adapter below ours');

/**
 * Let *instance* (or axios itself) sign what it sends; returns the interceptor's number, for `interceptors.request.eject`.
 *
 * Only the way out is changed: what other interceptors, transformers and the answer show has no signature in it.
 */
export function signAxios(instance, atlSign = new AtlSign()) {
	// Without defaults and interceptors of its own: what arrives at the adapter has been through those of *instance*.
	const bare = instance.create();
	for (const name of Object.keys(bare.defaults)) delete bare.defaults[name];
	return instance.interceptors.request.use(config => {
		// A request that is made again (axios-retry) has our adapter already.
		const base = config.adapter?.[BASE] ?? {adapter: config.adapter};
		const adapter = final => send(bare, atlSign, {...final, adapter: base.adapter});
		return Object.assign(config, {adapter: Object.assign(adapter, {[BASE]: base})});
	});
}

/** Send what *config* says, with everything transformed by now, and follow redirects: each hop signed, until one leads out of the link. */
async function send(bare, atlSign, config) {
	if (config.auth) throw refusal('the request has auth of its own', 'take it out: the signature says who you are');
	if (config.beforeRedirect) throw refusal('beforeRedirect cannot be used with signed requests', 'set maxRedirects to 0 and follow by hand');
	let hop = {...config, url: readUrl(bare, config), method: (config.method ?? 'get').toUpperCase(), headers: copyHeaders(config.headers)};
	checkHeaders(Object.entries(hop.headers), new URL(hop.url).host);
	await prepareBody(hop);
	const most = config.maxRedirects ?? REDIRECTS_MAX;
	let link;
	for (let hops = 0; ; hops++) {
		const signed = await signHop(atlSign, hop, link);
		link = signed?.link ?? null;
		let outcome, failure;
		try {
			outcome = await bare.request(makeConfig(hop, signed));
		} catch (error) {
			failure = error;
			outcome = error?.response;
		}
		const location = outcome?.headers?.location;
		if (most === 0 || !isRedirect(outcome?.status, location)) {
			const sentTo = signed?.url ?? hop.url;
			if (failure) throw strip(failure, config, sentTo);
			return strip(outcome, config, sentTo);
		}
		outcome.data?.destroy?.();
		if (hops === most) throw Object.assign(new Error(`more than ${most} redirects`), {code: 'ERR_FR_TOO_MANY_REDIRECTS'});
		hop = follow(hop, nextHop(outcome.status, location, signed?.url ?? hop.url, hop.method));
	}
}

/** Return the URL that Axios would send, to the letter. */
function readUrl(bare, config) {
	const text = bare.getUri(config);
	checkUrl(text.trim().replaceAll(' ', '%20'));
	let url;
	try {
		url = new URL(text);
	} catch {
		throw refusal('the URL is not absolute', 'give the instance a baseURL');
	}
	return withoutFragment(url.href);
}

function copyHeaders(headers) {
	const pairs = Object.entries(headers?.toJSON?.() ?? headers ?? {});
	return Object.fromEntries(pairs.filter(([, value]) => value !== undefined && value !== null).map(([name, value]) => [name.toLowerCase(), value]));
}

/** Settle what the content type and the form of *hop* are, which Axios's adapters would each do in their own way. */
async function prepareBody(hop) {
	const {data, headers} = hop;
	// Axios calls every body a form whose type is not given; then the adapters find out that some are not.
	if (data instanceof Blob) headers['content-type'] = data.type || 'application/octet-stream';
	if (isMultipart(data) && isForm(headers['content-type'])) headers['content-type'] = 'multipart/form-data';
	if (!isForm(headers['content-type'])) return;
	if (data instanceof Blob) hop.data = Buffer.from(await data.arrayBuffer());
	else if (typeof data?.[Symbol.asyncIterator] === 'function') hop.data = await collectForm(data);
}

const isMultipart = data => data instanceof FormData || typeof data?.getHeaders === 'function';

async function signHop(atlSign, hop, link) {
	if (link === null) return null;
	const {data, method, signal} = hop;
	const isEmpty = data === undefined || data === null || data === '';
	const form = isEmpty || !isForm(hop.headers['content-type']) ? undefined : readFormData(data);
	try {
		return await atlSign.sign({method, url: hop.url, form, signal, ...(link && {link})});
	} catch (error) {
		if (link && error.code === 'unknown_link') return null;
		throw error;
	}
}

function readFormData(data) {
	if (typeof data === 'string') return data;
	if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) return readFormText(data);
	throw refusal('the form is neither a string nor bytes', 'give a URLSearchParams');
}

/** Return what Axios itself is to send: a whole URL, nothing left to add or to transform, no redirects. */
function makeConfig(hop, signed) {
	return {
		...hop,
		url: signed?.url ?? hop.url,
		headers: signed ? {...hop.headers, authorization: signed.authorization} : hop.headers,
		baseURL: undefined,
		params: undefined,
		paramsSerializer: undefined,
		maxRedirects: 0,
		fetchOptions: {...hop.fetchOptions, redirect: 'manual'},
		transformRequest: [],
		transformResponse: [],
	};
}

function follow(hop, {url, method, keepsBody, drops}) {
	const {data} = hop;
	if (keepsBody && data !== undefined && data !== null && typeof data !== 'string' && !(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data)) {
		throw new TypeError('the redirect wants the body again, and a stream is read once');
	}
	const headers = Object.fromEntries(Object.entries(hop.headers).filter(([name]) => !drops.includes(name)));
	return {...hop, url: withoutFragment(url), method, headers, data: keepsBody ? data : undefined};
}

/** Take the signed header out of *outcome*, an answer or an error of Axios: its config is the caller's, its request does not print. */
function strip(outcome, config, url) {
	for (const part of new Set([outcome, outcome.response].filter(Boolean))) {
		if (part.config) part.config = config;
		const {request} = part;
		if (!request || typeof request !== 'object') continue;
		Object.defineProperty(request, inspect.custom, {value: () => '<request>', configurable: true});
		if (request.res) request.res.responseUrl ??= url;
	}
	return outcome;
}
