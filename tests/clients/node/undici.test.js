/** The undici interceptor, with undici's own request, fetch, retry and redirect. */

import assert from 'node:assert/strict';
import {Readable} from 'node:stream';
import {test} from 'node:test';
import {inspect} from 'node:util';

import {AtlSign} from 'atl-sign';
import {signUndici} from 'atl-sign/undici';
import {Agent, Client, FormData, Pool, fetch, interceptors, request} from 'undici';

import {startFakeDaemon, startLab, startRecorder} from './lab.js';

const lab = await startLab();
const dispatcher = new Agent().compose(signUndici());
const noCheck = {'X-Atlassian-Token': 'no-check'};
const queue = `${lab.bamboo}/rest/api/latest/queue/WEB-BUILD`;
const FORM = 'application/x-www-form-urlencoded';

const failure = call =>
	call.then(
		() => assert.fail('it was not refused'),
		error => error,
	);

async function status(url, options) {
	const {statusCode, body} = await request(url, {dispatcher, ...options});
	await body.dump();
	return statusCode;
}

async function allSigned(count) {
	const {requests} = await lab.tell('requests');
	assert.equal(requests.length, count);
	for (const {verdict, target} of requests) assert.equal(verdict, 'signed', target);
}

test('queries and paths are signed as they are sent', async () => {
	await lab.tell('requests');
	const myself = `${lab.jira}/rest/api/2/myself`;
	assert.equal((await (await request(myself, {dispatcher})).body.json()).name, 'alice');
	assert.equal(await status(myself, {query: {a: ['1', '2'], b: 'ä &+', c: ''}}), 200);
	assert.equal(await status(`${myself}?a=b+c&d=%20`), 200);
	const raw = await failure(request(`${lab.jira}/x|y`, {dispatcher}));
	assert.deepEqual([raw.code, raw.hint], ['bad_url', 'write %7C']);
	await allSigned(3);
	assert.equal((await request(myself)).statusCode, 401);
	await lab.tell('requests');
});

test('of two content types a server would read the first', async () => {
	await lab.tell('requests');
	const headers = ['content-type', FORM, 'Content-Type', 'text/plain'];
	const error = await failure(request(queue, {dispatcher, method: 'POST', headers, body: 'a=1'}));
	assert.equal(error.code, 'bad_request');
	assert.match(error.message, /two Content-Type headers/);
	await allSigned(0);
});

test('headers in each shape go along', async () => {
	const {got, url} = await startRecorder();
	const daemon = await startFakeDaemon({one: url});
	const agent = new Agent().compose(signUndici(new AtlSign({socketPath: daemon.path})));
	for (const headers of [{'X-A': 'b', 'X-Two': ['1', '2']}, ['X-A', 'b', 'X-Two', '1', 'X-Two', '2'], new Map([['X-A', 'b'], ['X-Two', ['1', '2']]])]) {
		await (await request(`${url}/`, {dispatcher: agent, headers})).body.dump();
		assert.equal(got.at(-1).headers['x-a'], 'b');
		assert.equal(got.at(-1).headers['x-two'], '1, 2');
		assert.match(got.at(-1).headers.authorization, /^OAuth/);
	}
});

test('forms are signed, other bodies are not', async () => {
	await lab.tell('requests');
	const headers = {...noCheck, 'content-type': FORM};
	const text = 'stage&a=%C3%A4+b';
	for (const body of [text, Buffer.from(text), Readable.from([Buffer.from(text)]), new Blob([text]).stream()]) {
		assert.equal(await status(queue, {method: 'POST', headers, body}), 200, inspect(body));
	}
	const issue = JSON.stringify({fields: {project: {key: 'WEB'}, summary: 'ä', issuetype: {name: 'Bug'}}});
	for (const body of [issue, Readable.from([Buffer.from(issue)])]) {
		assert.equal(await status(`${lab.jira}/rest/api/2/issue`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body}), 201);
	}
	const form = new FormData();
	form.set('file', new Blob(['text']), 'a.txt');
	assert.equal(await status(`${lab.jira}/rest/api/2/issue/WEB-1/attachments`, {method: 'POST', headers: noCheck, body: form}), 200);
	for (const body of [new URLSearchParams(text), text]) {
		assert.equal((await fetch(queue, {dispatcher, method: 'POST', headers, body})).status, 200);
	}
	await allSigned(9);
});

test('what is refused is not sent', async () => {
	await lab.tell('requests');
	const get = (url, options) => failure(request(url, {dispatcher, ...options}));
	assert.equal((await get(`${lab.jira}/x`, {headers: {Authorization: 'Basic canary'}})).code, 'bad_request');
	assert.equal((await get(`${lab.jira}/x`, {headers: {host: 'other.example.com'}})).code, 'bad_request');
	assert.equal((await get('https://elsewhere.example.com/')).code, 'unknown_link');
	assert.equal((await get(`${lab.jira}/x`, {method: 'PUT', headers: {'content-type': FORM}, body: 'a=1'})).code, 'bad_request');
	assert.equal((await get(`${lab.jira}/x`, {method: 'POST', headers: {'content-type': FORM}, body: Buffer.from([0xff])})).code, 'bad_request');
	const gone = new Agent().compose(signUndici(new AtlSign({socketPath: '/none'})));
	assert.equal((await get(`${lab.jira}/x`, {dispatcher: gone})).code, 'no_daemon');
	const error = await failure(fetch('https://elsewhere.example.com/', {dispatcher}));
	assert.equal(error.cause.code, 'unknown_link');
	await allSigned(0);
});

test('a Client and a Pool need their origin', async () => {
	const {origin, pathname} = new URL(lab.jira);
	for (const Kind of [Client, Pool]) {
		const bare = new Kind(origin);
		const path = `${pathname}/rest/api/2/myself`;
		const {body} = await bare.compose(signUndici(undefined, {origin})).request({path, method: 'GET'});
		assert.equal((await body.json()).name, 'alice');
		assert.equal((await failure(bare.compose(signUndici()).request({path, method: 'GET'}))).code, 'bad_request');
		await bare.close();
	}
});

test('a repetition is signed anew', async () => {
	const {got, url} = await startRecorder((_, response, count) => response.writeHead(count < 3 ? 503 : 200).end());
	const daemon = await startFakeDaemon({one: url});
	const agent = new Agent().compose(signUndici(new AtlSign({socketPath: daemon.path})), interceptors.retry({minTimeout: 1, maxRetries: 3}));
	assert.equal(await status(`${url}/x`, {dispatcher: agent}), 200);
	assert.equal(got.length, 3);
	assert.equal(new Set(got.map(each => each.headers.authorization)).size, 3);
});

test('a redirect is signed anew, and one out of the link is refused', async () => {
	const other = await startRecorder();
	const {got, url} = await startRecorder((request, response) =>
		request.url.startsWith('/b/302/')
			? response.writeHead(302, {Location: request.url === '/b/302/other' ? `${other.url}/` : '/b/end'}).end()
			: response.end(),
	);
	const daemon = await startFakeDaemon({one: `${url}/b`});
	const agent = new Agent().compose(signUndici(new AtlSign({socketPath: daemon.path})), interceptors.redirect({maxRedirections: 3}));
	assert.equal(await status(`${url}/b/302/end`, {dispatcher: agent}), 200);
	assert.equal(new Set(got.map(each => each.headers.authorization)).size, 2);
	assert.equal((await failure(status(`${url}/b/302/other`, {dispatcher: agent}))).code, 'unknown_link');
	assert.equal((await failure(fetch(`${url}/b/302/other`, {dispatcher: new Agent().compose(signUndici(new AtlSign({socketPath: daemon.path})))}))).cause.code, 'unknown_link');
	assert.equal(other.got.length, 0);
});

test('it can be given up, and errors show no signature', async () => {
	const {url} = await startRecorder((request, response) => request.url === '/drop' && response.destroy());
	const daemon = await startFakeDaemon({one: url});
	const agent = new Agent().compose(signUndici(new AtlSign({socketPath: daemon.path})));
	const dropped = await failure(request(`${url}/drop`, {dispatcher: agent}));
	assert.doesNotMatch(inspect(dropped, {depth: 5}), /canary-/);
	const error = await failure(request(`${url}/hang`, {dispatcher: agent, signal: AbortSignal.timeout(50)}));
	assert.match(error.name, /Timeout|Abort/);
	await agent.destroy();
});
