/** Form bodies: the only ones that are part of a signature. */

import {refusal} from './errors.js';

const FORM_BYTES_MAX = 1_048_576; // the daemon takes no more

/** Tell whether *contentType* says that the body is a form; throws when it is one in another encoding than UTF-8. */
export function isForm(contentType) {
	const [type, ...parameters] = (contentType ?? '').split(';');
	if (type.trim().toLowerCase() !== 'application/x-www-form-urlencoded') return false;
	for (const parameter of parameters) {
		const [name, value = ''] = parameter.split('=');
		if (name.trim().toLowerCase() === 'charset' && value.trim().replaceAll('"', '').toLowerCase() !== 'utf-8') {
			throw refusal('a form in another encoding than UTF-8 cannot be signed', 'take the charset out');
		}
	}
	return true;
}

/** Return the bytes of *chunks*, an iterable of strings or bytes (async or not), which end before a form becomes too long to sign. */
export async function collectForm(chunks) {
	const parts = [];
	let bytes = 0;
	for await (const chunk of chunks) {
		const part = Buffer.from(chunk);
		parts.push(part);
		bytes += part.length;
		if (bytes > FORM_BYTES_MAX) throw refusal('the form is over 1 MiB', 'send it as multipart or JSON, which are not signed');
	}
	return Buffer.concat(parts);
}

/** Return *bytes* as the text that is signed. */
export function readFormText(bytes) {
	try {
		return new TextDecoder('utf-8', {fatal: true, ignoreBOM: true}).decode(bytes);
	} catch {
		throw refusal('the form is not UTF-8', 'encode the text as UTF-8 first');
	}
}
