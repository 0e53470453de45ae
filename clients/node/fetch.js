/** `fetch` with a signature of its own for each request that goes out, redirects included. */

import {checkHeaders, checkUrl} from './errors.js';
import {collectForm, isForm, readFormText} from './form.js';
import {REDIRECTS_MAX, isRedirect, nextHop, withoutFragment} from './redirects.js';

/**
 * Do what `fetch(input, init)` does, signed by *sign*.
 *
 * Throws AtlSignError when the first request cannot be signed, before anything is sent; else what `fetch` throws. A redirect out of
 * the link goes without a signature, and so does all that comes after it: nobody else decides what is signed.
 */
export async function sendSigned(sign, input, init) {
	// As `fetch` does, blanks are encoded; what else could end a line is refused instead of dropped.
	if (!(input instanceof Request)) checkUrl(String(input).trim().replaceAll(' ', '%20'));
	let request = new Request(input, init);
	checkHeaders(request.headers, new URL(request.url).host);
	const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
	const options = {signal, ...(init?.dispatcher && {dispatcher: init.dispatcher})};
	const follows = request.redirect === 'follow';
	let body = keepBody(init?.body, request.body);
	if (request.body && isForm(request.headers.get('content-type'))) {
		body = await collectForm(request.body);
		request = new Request(request, {body});
	}
	let link;
	for (let hops = 0; ; hops++) {
		const signed = await signHop(sign, request, body, link, signal);
		link = signed?.link ?? null;
		const headers = new Headers(request.headers);
		if (signed) headers.set('authorization', signed.authorization);
		const ready = new Request(request, {headers, ...(follows && {redirect: 'manual'})});
		const response = await fetch(signed?.url ? new Request(signed.url, ready) : ready, options);
		const location = response.headers.get('location');
		if (!follows || !isRedirect(response.status, location)) return hops ? markRedirected(response) : response;
		await response.body?.cancel();
		if (hops === REDIRECTS_MAX) throw new TypeError(`more than ${REDIRECTS_MAX} redirects`);
		const next = nextHop(response.status, location, signed?.url ?? request.url, request.method);
		if (!next.keepsBody) body = null;
		if (body === ONCE) throw new TypeError('the redirect wants the body again, and a stream is read once');
		request = makeNext(request, next, body, signal);
	}
}

const ONCE = Symbol('a body that can be sent once');

/** Return *given* when it can be sent again; ONCE for streams, and for what a Request holds: it does not say what it came from. */
function keepBody(given, stream) {
	if (stream === null) return null;
	const isKept = typeof given === 'string' || given instanceof Blob || given instanceof FormData || given instanceof ArrayBuffer || ArrayBuffer.isView(given);
	return isKept ? given : ONCE;
}

/** Return the signature of *request*, or null where it gets none: after a redirect out of *link*, the link of the first request. */
async function signHop(sign, request, body, link, signal) {
	if (link === null) return null;
	const form = Buffer.isBuffer(body) && request.body && isForm(request.headers.get('content-type')) ? readFormText(body) : undefined;
	try {
		return await sign({method: request.method, url: withoutFragment(request.url), form, signal, ...(link && {link})});
	} catch (error) {
		if (link && error.code === 'unknown_link') return null;
		throw error;
	}
}

function makeNext(request, {url, method, drops}, body, signal) {
	const headers = new Headers(request.headers);
	for (const name of drops) headers.delete(name);
	if (body instanceof FormData) headers.delete('content-type'); // it names the boundary of the first sending
	const {cache, credentials, integrity, keepalive, referrerPolicy} = request;
	return new Request(url, {method, headers, body, signal, cache, credentials, integrity, keepalive, referrerPolicy});
}

/** Let *response* and its copies say that a redirect led to them. */
function markRedirected(response) {
	const clone = response.clone;
	return Object.defineProperties(response, {
		redirected: {value: true, configurable: true},
		clone: {value: () => markRedirected(clone.call(response)), configurable: true, writable: true},
	});
}
