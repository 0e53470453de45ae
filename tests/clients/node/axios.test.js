/** The Axios interceptor, with Axios itself, and with jira.js on top of it. */

import assert from 'node:assert/strict';
import {createReadStream, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import {inspect} from 'node:util';

import {AtlSign} from 'atl-sign';
import {signAxios} from 'atl-sign/axios';
import axios from 'axios';
import axiosRetry from 'axios-retry';
import {Version2Client} from 'jira.js';

import {makeFolder, startFakeDaemon, startLab, startRecorder} from './lab.js';

const lab = await startLab();
const noCheck = {'X-Atlassian-Token': 'no-check'};
const queue = `${lab.bamboo}/rest/api/latest/queue/WEB-BUILD`;
const FORM = 'application/x-www-form-urlencoded';

const signed = (options, client) => {
	const instance = axios.create(options);
	signAxios(instance, client);
	return instance;
};

const failure = call =>
	call.then(
		() => assert.fail('it was not refused'),
		error => error,
	);

/** Assert that everything that arrived was signed rightly. */
async function allSigned(count) {
	const {requests} = await lab.tell('requests');
	assert.equal(requests.length, count);
	for (const {verdict, target} of requests) assert.equal(verdict, 'signed', target);
	return requests;
}

test('baseURL, params and their serializers are signed as they are sent', async () => {
	await lab.tell('requests');
	const jira = signed({baseURL: `${lab.jira}/rest/api/2`, params: {common: 'ä b'}});
	assert.equal((await jira.get('/myself')).data.name, 'alice');
	assert.equal((await jira.get('myself#part', {params: {a: [1, 2], b: {c: 'd'}, e: new Date(0), f: null, g: "!'()*:$,[]+%"}})).status, 200);
	assert.equal((await jira.get('/myself?x=1', {params: new URLSearchParams('a=1&a=2 3')})).status, 200);
	assert.equal((await jira.get('/myself', {paramsSerializer: {indexes: null}, params: {a: [1, 2]}})).status, 200);
	assert.equal((await jira.get('/myself', {paramsSerializer: () => 'q=a|b c{}', params: {a: 1}})).status, 200);
	assert.equal((await jira.get(`${lab.jira}/rest/api/2/x/../myself`)).status, 200);
	const targets = (await allSigned(6)).map(each => each.target);
	assert.ok(targets[1].startsWith('/jira/rest/api/2/myself?common='));
	assert.equal((await failure(axios.get(`${lab.jira}/rest/api/2/myself`))).response.status, 401);
	await lab.tell('requests');
});

test('each kind of body, by either adapter', async () => {
	for (const adapter of [undefined, 'http', 'fetch']) {
		const jira = signed({baseURL: `${lab.jira}/rest/api/2`, adapter});
		await lab.tell('requests');
		const issue = {fields: {project: {key: 'WEB'}, summary: 'ä', issuetype: {name: 'Bug'}}};
		assert.equal((await jira.post('/issue', issue)).status, 201);
		const headers = {'Content-Type': 'application/json'};
		assert.equal((await jira.post('/issue', Buffer.from(JSON.stringify(issue)), {headers})).status, 201);
		const file = join(makeFolder(), 'f');
		writeFileSync(file, JSON.stringify(issue));
		assert.equal((await jira.post('/issue', createReadStream(file), {headers})).status, 201);
		const form = new FormData();
		form.set('file', new Blob(['text']), 'a.txt');
		assert.equal((await jira.post('/issue/WEB-1/attachments', form, {headers: noCheck})).status, 200);
		for (const data of ['a=1+2&b', new URLSearchParams({a: 'ä &'}), Buffer.from('a=%C3%A4')]) {
			assert.equal((await jira.post(queue, data, {headers: {...noCheck, 'Content-Type': FORM}})).status, 200);
		}
		assert.equal((await jira.post(queue, {a: 'b c', d: [1, 2]}, {headers: {...noCheck, 'Content-Type': FORM}})).status, 200);
		assert.equal((await jira.postForm(queue, {a: 'b'}, {headers: noCheck})).status, 200);
		assert.equal((await jira.post(queue, new Blob(['a=1'], {type: FORM}), {headers: noCheck})).status, 200);
		assert.equal((await jira.post('/issue', new Blob([JSON.stringify(issue)], {type: 'application/json'}))).status, 201);
		assert.equal((await jira.post(queue, null, {headers: noCheck})).status, 200);
		// Axios calls a string a form when nothing else is said.
		assert.equal((await jira.post(queue, 'a=1', {headers: noCheck})).status, 200);
		writeFileSync(file, 'a=1&b=2');
		assert.equal((await jira.post(queue, createReadStream(file), {headers: {...noCheck, 'Content-Type': FORM}})).status, 200);
		await allSigned(14);
	}
});

test('what is refused is not sent', async () => {
	await lab.tell('requests');
	const jira = signed({baseURL: lab.jira});
	for (const options of [
		{auth: {username: 'a', password: 'canary'}},
		{headers: {Authorization: 'Basic canary'}},
		{headers: {Host: 'other.example.com'}},
		{beforeRedirect: () => {}},
		{baseURL: lab.jira.replace('//', '//ann:canary@')},
		{baseURL: `${lab.jira}\r\nX: y`},
	]) {
		const error = await failure(jira.get('/x', options));
		assert.equal(error.code, 'bad_request', inspect(options));
		assert.doesNotMatch(inspect(error), /canary/);
	}
	assert.equal((await failure(signed({}).get('/x'))).code, 'bad_request');
	assert.equal((await failure(jira.get('https://elsewhere.example.com/'))).code, 'unknown_link');
	assert.equal((await failure(jira.put('/x', 'a=1'))).code, 'bad_request');
	assert.equal((await failure(signed({}, new AtlSign({socketPath: '/none'})).get(`${lab.jira}/x`))).code, 'no_daemon');
	const raw = await failure(jira.get('/x[1]'));
	assert.deepEqual([raw.code, raw.hint], ['bad_url', 'write %5B']);
	await allSigned(0);
});

/** A server whose /b/STATUS/rest leads on to /b/rest or an address in *targets*, and an instance signed by a fake daemon for /b. */
async function startPair(targets = {}) {
	const server = await startRecorder((request, response) => {
		const [, status, rest] = /^\/b\/(\d{3})\/(.*)$/.exec(request.url) ?? [];
		if (!status) return response.end(`${request.method} done`);
		response.writeHead(Number(status), {Location: targets[rest] ?? `/b/${rest}`}).end('moved');
	});
	const daemon = await startFakeDaemon({one: `${server.url}/b`});
	return {...server, daemon, client: new AtlSign({socketPath: daemon.path})};
}

test('each redirect is signed anew, and none outside the link', async () => {
	for (const adapter of ['http', 'fetch']) {
		const other = await startRecorder();
		const {got, url, client} = await startPair({other: `${other.url}/x`, outside: '/outside'});
		const instance = signed({adapter}, client);
		assert.equal((await instance.get(`${url}/b/302/302/307/end`)).data, 'GET done');
		assert.equal(new Set(got.map(each => each.headers.authorization)).size, 4);
		got.length = 0;
		await instance.get(`${url}/b/302/other`, {headers: {Cookie: 'canary', 'X-Kept': 'yes'}});
		assert.equal(other.got.length, 1);
		assert.equal(other.got[0].headers['x-kept'], 'yes');
		assert.doesNotMatch(JSON.stringify(other.got), /OAuth|canary/);
		got.length = 0;
		await instance.get(`${url}/b/302/outside`);
		assert.deepEqual(got.map(each => each.headers.authorization !== undefined), [true, false]);
		got.length = 0;
		assert.equal((await instance.post(`${url}/b/303/end`, {a: 1})).data, 'GET done');
		assert.deepEqual(got.map(each => [each.method, each.headers['content-type']]), [['POST', 'application/json'], ['GET', undefined]]);
		got.length = 0;
		assert.equal((await instance.post(`${url}/b/307/end`, {a: 1})).data, 'POST done');
		assert.deepEqual(got.map(each => each.body), ['{"a":1}', '{"a":1}']);
		got.length = 0;
		const body = new Blob(['x']).stream();
		assert.ok((await failure(instance.post(`${url}/b/307/end`, adapter === 'http' ? (await import('node:stream')).Readable.fromWeb(body) : body, {headers: {'Content-Type': 'text/plain'}}))) instanceof TypeError);
		assert.equal(got.length, 1);
	}
});

test('how many redirects, and an answer as Axios gives it', async () => {
	const {got, url, client} = await startPair();
	const instance = signed({}, client);
	assert.equal((await failure(instance.get(`${url}/b/302/end`, {maxRedirects: 0}))).response.status, 302);
	assert.equal((await instance.get(`${url}/b/302/end`, {maxRedirects: 0, validateStatus: null})).status, 302);
	assert.equal((await instance.get(`${url}/b/302/end`, {validateStatus: null})).status, 200);
	got.length = 0;
	assert.equal((await failure(instance.get(`${url}/b/302/302/end`, {maxRedirects: 1}))).code, 'ERR_FR_TOO_MANY_REDIRECTS');
	assert.equal(got.length, 2);
	const response = await instance.get(`${url}/b/302/end`, {params: {a: 1}});
	const twin = await axios.get(`${url}/b/302/end`, {params: {a: 1}});
	assert.equal(response.request.res.responseUrl, twin.request.res.responseUrl);
	assert.deepEqual([response.config.url, response.config.params, response.data], [twin.config.url, twin.config.params, twin.data]);
	const stream = await instance.get(`${url}/b/302/end`, {responseType: 'stream'});
	assert.equal(Buffer.concat(await stream.data.toArray()).toString(), 'GET done');
});

test('transformers and other interceptors run once, and see no signature', async () => {
	const {got, url, client} = await startPair();
	const seen = [];
	const instance = axios.create({
		baseURL: url,
		transformRequest: data => (seen.push('request'), `<${data}>`),
		transformResponse: data => (seen.push('response'), data.length),
		headers: {'X-Default': 'yes', 'Content-Type': 'text/plain'},
	});
	instance.interceptors.request.use(config => (seen.push('before'), config));
	signAxios(instance, client);
	instance.interceptors.request.use(config => (seen.push('after'), config));
	instance.interceptors.response.use(response => (seen.push(inspect(response, {depth: 9})), response));
	const response = await instance.post('/b/307/end', 'x');
	assert.equal(response.data, 'POST done'.length);
	assert.deepEqual(got.map(each => [each.body, each.headers['x-default']]), [['<x>', 'yes'], ['<x>', 'yes']]);
	assert.deepEqual(seen.slice(0, 4), ['after', 'before', 'request', 'response']);
	assert.equal(seen.length, 5);
	assert.doesNotMatch(seen[4], /canary-/);
});

test('errors show no signature', async () => {
	for (const adapter of ['http', 'fetch']) {
		const {url} = await startRecorder((request, response) => (request.url === '/drop' ? response.destroy() : response.writeHead(500).end('no')));
		const daemon = await startFakeDaemon({one: url});
		const instance = signed({adapter}, new AtlSign({socketPath: daemon.path}));
		for (const path of ['/drop', '/500']) {
			const error = await failure(instance.get(url + path));
			assert.equal(axios.isAxiosError(error), true);
			assert.doesNotMatch(inspect(error, {depth: 9}) + JSON.stringify(error), /canary-/, adapter + path);
			assert.equal(error.config.headers.Authorization, undefined);
		}
		assert.equal(daemon.asked.length, 2);
	}
});

test('a repetition by axios-retry is signed anew', async () => {
	const {got, url} = await startRecorder((request, response, count) => response.writeHead(count < 3 ? 503 : 200).end());
	const daemon = await startFakeDaemon({one: url});
	const instance = signed({}, new AtlSign({socketPath: daemon.path}));
	axiosRetry(instance, {retries: 3, retryDelay: () => 0});
	assert.equal((await instance.get(`${url}/x`)).status, 200);
	assert.equal(new Set(got.map(each => each.headers.authorization)).size, 3);
});

test('it can be given up, and taken out again', async () => {
	const {url} = await startRecorder(() => {});
	const daemon = await startFakeDaemon({one: url});
	const instance = axios.create();
	const number = signAxios(instance, new AtlSign({socketPath: daemon.path}));
	assert.equal((await failure(instance.get(`${url}/x`, {timeout: 50}))).code, 'ECONNABORTED');
	assert.equal((await failure(instance.get(`${url}/x`, {signal: AbortSignal.timeout(50)}))).code, 'ERR_CANCELED');
	instance.interceptors.request.eject(number);
	await failure(instance.get(`${url}/x`, {timeout: 50}));
	assert.equal(daemon.asked.length, 2);
});

test('jira.js works through it', async () => {
	await lab.tell('requests');
	const client = new Version2Client({host: lab.jira});
	signAxios(client.instance);
	assert.equal((await client.myself.getCurrentUser()).name, 'alice');
	const made = await client.issues.createIssue({fields: {project: {key: 'WEB'}, summary: 'from jira.js: ä', issuetype: {name: 'Bug'}}});
	assert.equal((await client.issues.getIssue({issueIdOrKey: made.key, fields: ['summary', 'status']})).fields.summary, 'from jira.js: ä');
	const found = await client.issueSearch.searchForIssuesUsingJql({jql: 'project = WEB AND summary ~ "jira.js"', maxResults: 5});
	assert.equal(found.issues[0].key, made.key);
	assert.equal((await client.serverInfo.getServerInfo()).deploymentType, 'Server');
	await allSigned(5);
	const error = await failure(client.issues.getIssue({issueIdOrKey: 'WEB-99999'}));
	assert.equal(error.response?.status ?? error.status, 404);
	assert.doesNotMatch(inspect(error, {depth: 9}), /oauth_signature/);
	await lab.tell('requests');
	const unsigned = new Version2Client({host: lab.jira});
	await failure(unsigned.myself.getCurrentUser());
});
