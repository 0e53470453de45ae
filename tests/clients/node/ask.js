/** Sends the requests on standard input, [{client, method, url, body, type}], each with the client named; prints their answers. */

import {text} from 'node:stream/consumers';

import {AtlSign} from 'atl-sign';
import {signAxios} from 'atl-sign/axios';
import {signUndici} from 'atl-sign/undici';
import axios from 'axios';
import {Agent, interceptors, request as undiciRequest} from 'undici';

const instance = axios.create({validateStatus: () => true, transformResponse: body => body, responseType: 'text'});
signAxios(instance);
const dispatcher = new Agent().compose(signUndici(), interceptors.redirect({maxRedirections: 5}));

const clients = {
	async fetch({method, url, body, headers}) {
		const answer = await new AtlSign().fetch(url, {method, headers, body});
		return {status: answer.status, url: answer.url, text: await answer.text()};
	},
	async axios({method, url, body, headers}) {
		const answer = await instance.request({method, url, headers, data: body});
		return {status: answer.status, url: answer.request.res?.responseUrl, text: answer.data};
	},
	async undici({method, url, body, headers}) {
		const answer = await undiciRequest(url, {dispatcher, method, headers, body});
		return {status: answer.statusCode, url: null, text: await answer.body.text()};
	},
};

const answers = [];
for (const {client, type, body, ...asked} of JSON.parse(await text(process.stdin))) {
	const headers = type ? {'content-type': type} : {};
	try {
		answers.push(await clients[client]({...asked, headers, body: body ?? undefined}));
	} catch (error) {
		const {code, message, hint} = error.code === undefined && error.cause ? error.cause : error;
		answers.push({code, message, hint});
	}
}
console.log(JSON.stringify(answers));
