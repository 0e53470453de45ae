/** Form bodies: the only ones that are part of a signature. */

import {refusal} from './errors.js';

const FORM_TYPE = 'application/x-www-form-urlencoded';
const FORM_BYTES_MAX = 1_048_576; // the daemon takes no more

/**
 * Tell whether *contentType* says that the body is a form.
 *
 * Throws for one that a server may read otherwise: Tomcat before 9.0.98 knows the type in lower case only, and a charset other than UTF-8
 * makes other parameters of the same bytes.
 */
export function isForm(contentType) {
	const [type, ...parameters] = String(contentType ?? '').split(';').map(trim);
	if (type.toLowerCase() !== FORM_TYPE) return false;
	if (type !== FORM_TYPE) throw refusal("the form's Content-Type is not in lower case, which some servers do not read as a form", `write ${FORM_TYPE}`);
	for (const parameter of parameters) {
		const [name, value = ''] = parameter.toLowerCase().split('=').map(trim);
		if (name === 'charset' && !/^utf-?8$/.test(value.replaceAll('"', ''))) {
			throw refusal('a form in another encoding than UTF-8 cannot be signed', 'take the charset out');
		}
	}
	return true;
}

// Not trim(), which takes more than the blanks of HTTP.
const trim = text => text.replace(/^[ \t]+|[ \t]+$/g, '');

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
