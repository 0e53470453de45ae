/** undici, signed: an interceptor for `Dispatcher.compose`. */

import {stringify} from 'node:querystring';

import {AtlSign} from './client.js';
import {checkHeaders, checkUrl, refusal} from './errors.js';
import {collectForm, isForm, readFormText} from './form.js';

/**
 * Return the interceptor; it must stand first in `compose`, so that what repeats and redirects stands around it and each attempt is
 * signed anew.
 *
 * Args:
 *   origin: of a Client or Pool, which do not say it themselves: "https://jira.example.com".
 */
export function signUndici(atlSign = new AtlSign(), {origin} = {}) {
	return dispatch => (options, handler) => {
		prepare(atlSign, options, origin).then(
			signed => dispatch(signed, handler),
			error => (handler.onResponseError ? handler.onResponseError(null, error) : handler.onError(error)),
		);
		return true;
	};
}

/** Return *options* with the signature of what they will send, and nothing else changed. */
async function prepare(atlSign, options, ownOrigin) {
	const origin = options.origin ?? ownOrigin;
	if (!origin) throw refusal('the dispatcher does not say its origin', 'compose an Agent, or give signUndici an origin');
	if (typeof options.path !== 'string' || !options.path.startsWith('/')) throw refusal('the path does not begin with a slash');
	const base = new URL(checkUrl(String(origin)));
	// As undici's own Request does, after which it sends the characters as they are.
	const path = options.query ? addQuery(options.path, options.query) : options.path;
	const headers = listHeaders(options.headers);
	checkHeaders(headers, base.host);
	let {body} = options;
	let form;
	const types = headers.filter(([name]) => name.toLowerCase() === 'content-type').map(([, value]) => value);
	if (types.length > 1) throw refusal('there are two Content-Type headers', 'take one of them out');
	if (body !== undefined && body !== null && isForm(types[0])) {
		body = await collectForm(typeof body === 'string' || ArrayBuffer.isView(body) ? [body] : readable(body));
		form = readFormText(body);
	}
	const {authorization, url} = await atlSign.sign({method: options.method ?? 'GET', url: base.origin + path, form});
	if (url) throw refusal('the token is good at another address, and a dispatcher keeps its own', `send it to ${url}`);
	return {...options, path, query: undefined, body, headers: [...headers, ['authorization', authorization]].flat()};
}

function addQuery(path, query) {
	if (/[?#]/.test(path)) throw refusal('the path has a query already, and another is given');
	const text = stringify(query);
	return text ? `${path}?${text}` : path;
}

function readable(body) {
	if (typeof body?.[Symbol.asyncIterator] === 'function' || typeof body?.[Symbol.iterator] === 'function') return body;
	throw refusal('the form is not a string, bytes or a stream', 'give a string');
}

/** Return *headers* in any of undici's shapes as [name, value] pairs, one for each value. */
function listHeaders(headers) {
	if (!headers) return [];
	let pairs;
	if (Array.isArray(headers) && !Array.isArray(headers[0])) {
		pairs = headers.flatMap((name, index) => (index % 2 ? [] : [[name, headers[index + 1]]]));
	} else {
		pairs = typeof headers[Symbol.iterator] === 'function' ? [...headers] : Object.entries(headers);
	}
	return pairs.flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).filter(each => each !== undefined && each !== null).map(each => [String(name), each]));
}
