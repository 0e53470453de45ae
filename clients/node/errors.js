/** The errors that are thrown, and the refusals that need no daemon. */

/** The daemon, or this client before it asked, said no. Match on `code`; `message` is for people and may change. */
export class AtlSignError extends Error {
	constructor({code, message, hint = null}, options) {
		super(message, options);
		this.code = code;
		this.hint = hint;
	}
}
// On the prototype, as with the errors of the language: an own property would be printed with each error.
Object.defineProperty(AtlSignError.prototype, 'name', {value: 'AtlSignError', configurable: true, writable: true});

/** Return the error for what is refused here, before anything is sent. */
export const refusal = (message, hint = null) => new AtlSignError({code: 'bad_request', message, hint});

/** Return *text*, the URL to sign, or throw when it could smuggle something into the request, or carries a password. */
export function checkUrl(text) {
	if (/[\x00-\x20\x7f]/.test(text)) throw refusal('the URL holds a blank or a control character', 'write it as a percent escape, %20 for a blank');
	if (/^[^/?#]*:[/\\]*[^/\\?#]*@/.test(text)) {
		throw refusal('the URL carries a user name or password', 'take user:password@ out: the signature says who you are');
	}
	return text;
}

/** Throw unless *method* is one: a token of RFC 9110 §9.1. */
export function checkMethod(method) {
	if (typeof method !== 'string' || !/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/.test(method)) {
		throw refusal('the method is not an HTTP method', 'a method is a word like GET or POST');
	}
	return method;
}

/** Throw for headers that a signed request cannot have: names and values as [name, value] pairs. */
export function checkHeaders(pairs, host) {
	for (const [name, value] of pairs) {
		const known = String(name).toLowerCase();
		if (known === 'authorization') {
			throw refusal('the request has an Authorization header of its own', 'take it out, or send the request without atl-sign');
		}
		// The provider computes the signature with the host that it is called by.
		if (known === 'host' && String(value).toLowerCase() !== host) {
			throw refusal("the request has a Host header that is not its URL's host", 'take it out');
		}
	}
}
