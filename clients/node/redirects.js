/** The request that a redirect asks for, by the Fetch standard (HTTP-redirect fetch); shared by everything here that follows one. */

import {checkUrl, refusal} from './errors.js';

export const REDIRECTS_MAX = 20;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const BODY_HEADERS = ['content-encoding', 'content-language', 'content-location', 'content-type', 'content-length', 'transfer-encoding'];
const SECRET_HEADERS = ['authorization', 'proxy-authorization', 'cookie', 'cookie2', 'host'];

export const isRedirect = (status, location) => REDIRECTS.has(status) && typeof location === 'string';

/**
 * Return the next hop of a redirect: {url, method, keepsBody, drops}, `drops` with the names of headers that do not go along.
 *
 * Throws AtlSignError for a way from https to http, and for an address with a password.
 */
export function nextHop(status, location, url, method) {
	// A header's bytes come as Latin-1; servers that write more than ASCII write UTF-8.
	const text = Buffer.from(location, 'latin1').toString('utf8');
	const next = new URL(text.includes('\ufffd') ? location : text, url);
	if (next.protocol !== 'https:' && next.protocol !== 'http:') throw new TypeError('the redirect leads to neither http nor https');
	if (new URL(url).protocol === 'https:' && next.protocol === 'http:') throw refusal('the redirect leads from https to http', 'ask for the address it leads to, over https');
	checkUrl(next.href);
	if (!next.hash) next.hash = new URL(url).hash;
	const rewrites = ((status === 301 || status === 302) && method === 'POST') || (status === 303 && method !== 'GET' && method !== 'HEAD');
	return {
		url: next.href,
		method: rewrites ? 'GET' : method,
		keepsBody: !rewrites,
		drops: [...(rewrites ? BODY_HEADERS : []), ...(next.origin === new URL(url).origin ? [] : SECRET_HEADERS)],
	};
}

/** Return what is signed and sent of *url*: no fragment. */
export function withoutFragment(url) {
	return url.split('#', 1)[0];
}
