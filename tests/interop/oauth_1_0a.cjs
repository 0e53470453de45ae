// Signs requests with the npm package oauth-1.0a: reads JSON lines from standard input, writes one JSON line for each.
// in:  {"key": PEM, "method", "url", "form"?, "consumer_key", "token"?, "nonce", "timestamp", "oauth": [[name, value], …]}
// out: {"base_string", "signature"} or {"error"}
'use strict';

const {createSign} = require('node:crypto');
const readline = require('node:readline');
const OAuth = require('oauth-1.0a');

// The package leaves case, default ports and international names as they are, so node's URL puts them right; the path stays.
function withoutQuery(text) {
	const path = /^[^:]+:\/\/[^/?#]*([^?#]*)/.exec(text)[1];
	return new URL(text).origin + (path || '/');
}

// An "&" first, because URLSearchParams takes a question mark at the very beginning away.
const decode = text => new URLSearchParams('&' + text);

// It takes the parameters decoded, in an object, with a list for a repeated name.
function toData(pairs) {
	const data = {};
	for (const [name, value] of pairs) {
		if (!(name in data)) data[name] = value;
		else if (Array.isArray(data[name])) data[name].push(value);
		else data[name] = [data[name], value];
	}
	return data;
}

function sign(input) {
	let baseString;
	const oauth = new OAuth({
		consumer: {key: input.consumer_key, secret: ''},
		signature_method: 'RSA-SHA1',
		hash_function(text) {
			baseString = text;
			return createSign('RSA-SHA1').update(text).sign(input.key, 'base64');
		},
	});
	oauth.getNonce = () => input.nonce;
	oauth.getTimeStamp = () => input.timestamp;
	const query = /^[^?#]*\?([^#]*)/.exec(input.url)?.[1] ?? '';
	const data = toData([...decode(query), ...decode(input.form ?? ''), ...input.oauth]);
	const token = input.token === null ? undefined : {key: input.token, secret: ''};
	const {oauth_signature: signature} = oauth.authorize({method: input.method, url: withoutQuery(input.url), data}, token);
	return {base_string: baseString, signature};
}

readline.createInterface({input: process.stdin}).on('line', line => {
	let output;
	try {
		output = sign(JSON.parse(line));
	} catch (error) {
		output = {error: String(error)};
	}
	console.log(JSON.stringify(output));
});
