/** `signedFetch` against products that verify, and against servers that record what a redirect brings them. */

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {inspect} from 'node:util';

import {AtlSign, AtlSignError, signedFetch} from 'atl-sign';

import {nextHop} from '../../../clients/node/redirects.js';
import {startFakeDaemon, startLab, startRecorder} from './lab.js';

const lab = await startLab();
const myself = `${lab.jira}/rest/api/2/myself`;
const queue = `${lab.bamboo}/rest/api/latest/queue/WEB-BUILD`;
const noCheck = {'X-Atlassian-Token': 'no-check'};
const FORM = 'application/x-www-form-urlencoded';

/** Return what *call* is refused with. */
const failure = call =>
	call.then(
		() => assert.fail('it was not refused'),
		error => error,
	);

test('a string, a URL and a Request', async () => {
	for (const input of [myself, new URL(myself), new Request(myself), `  ${myself}#part`]) {
		const response = await signedFetch(input);
		assert.equal((await response.json()).name, 'alice');
		assert.equal(response.redirected, false);
		assert.equal(response.url, myself);
	}
	assert.equal((await fetch(myself)).status, 401);
});

test('what is signed is what is sent', async () => {
	await lab.tell('requests');
	const odd = ['?a=b+c&d=%20&e=ä', '?a=|^`{}"<>\'()*!', '?', '?a&a=', '?x=/?:@,;$', '?a=😀#ü', '?q=a b'];
	for (const query of odd) assert.equal((await signedFetch(myself + query)).status, 200, query);
	for (const path of ['/rest/api/2/x/../myself', '/rest/api/2/%2e/myself', '\\rest\\api\\2\\myself']) {
		assert.equal((await signedFetch(lab.jira + path)).status, 200, path);
	}
	for (const path of ['/x%5B1%5D', '/x"<>`{}']) await signedFetch(lab.jira + path); // the second is escaped by fetch
	for (const raw of '[]|') {
		const error = await failure(signedFetch(`${lab.jira}/x${raw}`));
		assert.deepEqual([error.code, error.hint], ['bad_url', `write ${encodeURIComponent(raw)}`]);
	}
	for (const {verdict, user} of (await lab.tell('requests')).requests) assert.deepEqual([verdict, user], ['signed', 'alice']);
});

test('every kind of body arrives', async () => {
	const issue = JSON.stringify({fields: {project: {key: 'WEB'}, summary: 'ä', issuetype: {name: 'Bug'}}});
	const bytes = new TextEncoder().encode(issue);
	const bodies = [
		() => issue,
		() => bytes,
		() => bytes.buffer,
		() => new DataView(bytes.buffer),
		() => new Blob([bytes], {type: 'application/json'}),
		() => new Blob([bytes]).stream(),
		() => (async function* () { yield bytes.subarray(0, 9); yield bytes.subarray(9); })(),
	];
	const headers = {'Content-Type': 'application/json'};
	for (const make of bodies) {
		const init = () => ({method: 'POST', headers, body: make(), duplex: 'half'});
		for (const call of [signedFetch(`${lab.jira}/rest/api/2/issue`, init()), signedFetch(new Request(`${lab.jira}/rest/api/2/issue`, init()))]) {
			const response = await call;
			assert.equal(response.status, 201, `${make} ${await response.text()}`);
		}
	}
	const form = new FormData();
	form.set('file', new Blob(['text']), 'a.txt');
	const response = await signedFetch(`${lab.jira}/rest/api/2/issue/WEB-1/attachments`, {method: 'POST', headers: noCheck, body: form});
	assert.equal(response.status, 200);
	assert.equal((await response.json())[0].filename, 'a.txt');
});

test('forms are signed with their fields', async () => {
	await lab.tell('requests');
	const text = 'stage&executeAllStages=true&x=%C3%A4+b';
	const makes = [() => text, () => new URLSearchParams(text), () => Buffer.from(text), () => new Blob([text], {type: FORM}), () => new Blob([text]).stream()];
	for (const make of makes) {
		for (const type of [FORM, `${FORM}; charset="UTF-8"`]) {
			const init = {method: 'POST', headers: {...noCheck, 'Content-Type': type}, body: make(), duplex: 'half'};
			assert.equal((await signedFetch(queue, init)).status, 200, String(make));
		}
	}
	assert.equal((await signedFetch(queue, {method: 'POST', headers: noCheck, body: new URLSearchParams(text)})).status, 200);
	assert.equal((await signedFetch(new Request(queue, {method: 'POST', headers: noCheck, body: new URLSearchParams(text)}))).status, 200);
	for (const {verdict} of (await lab.tell('requests')).requests) assert.equal(verdict, 'signed');
});

test('a form that cannot be signed is not sent', async () => {
	await lab.tell('requests');
	const post = (body, type = FORM, method = 'POST') => failure(signedFetch(queue, {method, headers: {'Content-Type': type}, body, duplex: 'half'}));
	assert.equal((await post(Buffer.from([0x61, 0xff]))).code, 'bad_request');
	assert.equal((await post('a=1', `${FORM};charset=latin1`)).code, 'bad_request');
	assert.equal((await post('a=1', 'Application/X-WWW-Form-URLencoded')).hint, `write ${FORM}`);
	assert.equal((await post('a=1', FORM, 'PUT')).code, 'bad_request');
	assert.equal((await post(new Blob(['x'.repeat(1_100_000)]).stream())).code, 'bad_request');
	assert.equal((await post('a=%zz')).code, 'bad_url');
	assert.deepEqual((await lab.tell('requests')).requests, []);
});

test('what is refused is not sent', async () => {
	const {got, url} = await startRecorder();
	const daemon = await startFakeDaemon({one: url});
	const client = new AtlSign({socketPath: daemon.path});
	const own = await failure(client.fetch(`${url}/`, {headers: {Authorization: 'Basic canary'}}));
	assert.equal(own.code, 'bad_request');
	assert.doesNotMatch(inspect(own), /canary/);
	for (const bad of [`${url}/a\r\nX: y`, `${url}/a\0`, url.replace('//', '//ann:canary@'), new URL(url.replace('//', '//ann@'))]) {
		assert.equal((await failure(client.fetch(bad))).code, 'bad_request');
	}
	assert.equal((await failure(client.fetch(`${url}/`, {headers: {Host: 'other.example.com'}}))).code, 'bad_request');
	assert.ok((await failure(client.fetch('/relative'))) instanceof TypeError);
	assert.ok((await failure(client.fetch(`${url}/`, {method: 'G\r\nT'}))) instanceof TypeError);
	assert.equal((await failure(client.fetch('https://elsewhere.example.com/'))).code, 'unknown_link');
	assert.equal((await failure(new AtlSign({socketPath: '/none'}).fetch(`${url}/`))).code, 'no_daemon');
	assert.equal(got.length, 0);
	await client.fetch(`${url}/`);
	assert.equal(got.length, 1);
});

/** A recorder that sends on by path: /STATUS/rest leads with that status to *targets*[rest], or to /rest. */
const startRedirector = (targets = {}) =>
	startRecorder((request, response) => {
		const [, status, rest] = /^\/b\/(\d{3})\/(.*)$/.exec(request.url) ?? [];
		if (!status) return response.end(`${request.method} done`);
		response.writeHead(Number(status), rest === 'nowhere' ? {} : {Location: targets[rest] ?? `/b/${rest}`});
		response.end('moved');
	});

/** A redirector with a daemon that signs below its /b. */
async function startPair(targets) {
	const server = await startRedirector(targets);
	const daemon = await startFakeDaemon({one: `${server.url}/b`, two: 'http://127.0.0.1:9/two'});
	return {...server, daemon, fetch: new AtlSign({socketPath: daemon.path}).fetch.bind(new AtlSign({socketPath: daemon.path}))};
}

test('each hop has a signature of its own, and methods change as the standard says', async () => {
	const {got, url, daemon, fetch: send} = await startPair();
	const cases = [];
	for (const status of [301, 302, 303, 307, 308]) {
		for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE']) cases.push([status, method]);
	}
	for (const [status, method] of cases) {
		const body = method === 'POST' || method === 'PUT' ? '{"a": 1}' : undefined;
		const headers = body && {'Content-Type': 'application/json', 'Content-Language': 'de', 'X-Kept': 'yes'};
		const init = {method, body, headers};
		got.length = daemon.asked.length = 0;
		const response = await send(`${url}/b/${status}/end#part`, init);
		const ours = got.map(({method, body, headers}) => [method, body, headers['content-type'], headers['content-language'], headers['x-kept']]);

		// The twin: what fetch itself does.
		got.length = 0;
		const twin = await fetch(`${url}/b/${status}/end#part`, init);
		const theirs = got.map(({method, body, headers}) => [method, body, headers['content-type'], headers['content-language'], headers['x-kept']]);

		assert.deepEqual(ours, theirs, `${status} ${method}`);
		assert.deepEqual([response.redirected, response.url, response.status], [twin.redirected, twin.url, twin.status]);
		assert.equal(response.clone().redirected, true);
		assert.equal(await response.text(), await twin.text());
		assert.deepEqual(daemon.asked.map(each => [each.method, each.url]), ours.map(([method], hop) => [method, `${url}/b/${hop ? 'end' : `${status}/end`}`]));
	}
});

test('no signature goes out twice', async () => {
	const {got, url, fetch: send} = await startPair();
	await send(`${url}/b/302/302/307/end`);
	assert.equal(new Set(got.map(each => each.headers.authorization)).size, 4);
	assert.ok(got.every(each => each.headers.authorization.startsWith('OAuth ')));
});

test('out of the link there is no signature, and none after it', async () => {
	const other = await startRedirector();
	const targets = {other: `${other.url}/b/end`, outside: '/outside', back: `${other.url}/b/302/home`};
	const {got, url, fetch: send} = await startPair(targets);
	const headers = {Cookie: 'a=canary', 'Proxy-Authorization': 'canary', 'X-Kept': 'yes'};
	assert.equal((await send(`${url}/b/302/other`, {headers})).url, `${other.url}/b/end`);
	assert.doesNotMatch(JSON.stringify(other.got), /OAuth|canary/);
	assert.equal(other.got[0].headers['x-kept'], 'yes');
	got.length = 0;
	await send(`${url}/b/302/outside`, {headers});
	assert.match(got[0].headers.authorization, /^OAuth/);
	assert.equal(got[1].headers.authorization, undefined);
	assert.equal(got[1].headers.cookie, 'a=canary');

	// From outside back into the link: the other server does not decide what is signed.
	const returning = await startRecorder((_, response) => response.writeHead(302, {Location: `${url}/b/end`}).end());
	targets.back = `${returning.url}/x`;
	got.length = 0;
	await send(`${url}/b/302/back`);
	assert.deepEqual(got.map(each => each.headers.authorization !== undefined), [true, false]);
});

test('a redirect into another link is not signed for that one', async () => {
	const {got, url, daemon} = await startPair();
	const both = await startFakeDaemon({one: `${url}/b/302`, two: `${url}/b/end`});
	await new AtlSign({socketPath: both.path}).fetch(`${url}/b/302/end/x`);
	assert.deepEqual(both.asked.map(each => each.link), [undefined, 'one']);
	assert.equal(got[1].headers.authorization, undefined);
	assert.equal(daemon.asked.length, 0);
});

test('bodies are sent again when they can be', async () => {
	const {got, url, daemon, fetch: send} = await startPair();
	const form = new FormData();
	form.set('a', 'b');
	for (const [body, want] of [['text', 'text'], [Buffer.from('x'), 'x'], [new Blob(['y']), 'y'], [new URLSearchParams('a=1 2'), 'a=1+2'], [form, /name="a"\r\n\r\nb\r\n/]]) {
		for (const status of [307, 308]) {
			got.length = daemon.asked.length = 0;
			assert.equal((await send(`${url}/b/${status}/end`, {method: 'POST', body})).status, 200);
			assert.equal(got.length, 2);
			for (const each of got) typeof want === 'string' ? assert.equal(each.body, want) : assert.match(each.body, want);
			if (body === form) for (const each of got) assert.ok(each.body.includes(/boundary=(.+)$/.exec(each.headers['content-type'])[1]));
			if (body instanceof URLSearchParams) assert.deepEqual(daemon.asked.map(each => each.form), ['a=1+2', 'a=1+2']);
		}
	}
	got.length = daemon.asked.length = 0;
	await send(`${url}/b/303/end`, {method: 'POST', body: new URLSearchParams('a=1')});
	assert.deepEqual(daemon.asked.map(each => each.form), ['a=1', undefined]);
});

test('a body that is read once is sent once', async () => {
	const {got, url, fetch: send} = await startPair();
	for (const input of [
		() => [`${url}/b/307/end`, {method: 'POST', body: new Blob(['x']).stream(), duplex: 'half'}],
		() => [`${url}/b/307/end`, {method: 'POST', body: (async function* () { yield Buffer.from('x'); })(), duplex: 'half'}],
		() => [new Request(`${url}/b/308/end`, {method: 'PUT', body: 'x'})],
	]) {
		got.length = 0;
		assert.ok((await failure(send(...input()))) instanceof TypeError);
		assert.equal(got.length, 1);
	}
	const twin = await send(`${url}/b/303/end`, {method: 'POST', body: new Blob(['x']).stream(), duplex: 'half'});
	assert.equal(await twin.text(), 'GET done');
});

test('the redirect modes', async () => {
	const {got, url, fetch: send} = await startPair();
	const manual = await send(`${url}/b/302/end`, {redirect: 'manual'});
	const twin = await fetch(`${url}/b/302/end`, {redirect: 'manual'});
	assert.deepEqual([manual.status, manual.type, manual.redirected], [twin.status, twin.type, twin.redirected]);
	got.length = 0;
	assert.ok((await failure(send(`${url}/b/302/end`, {redirect: 'error'}))) instanceof TypeError);
	assert.equal(got.length, 1);
	assert.equal((await send(`${url}/b/302/nowhere`)).status, 302);
	assert.equal((await send(`${url}/b/304/end`)).status, 304);
});

test('at most twenty redirects, none to another scheme, none with a password', async () => {
	const {got, url, fetch: send} = await startPair({file: 'file:///etc/passwd', password: 'http://ann:canary@127.0.0.1/', bad: 'http://['});
	assert.equal((await send(`${url}/b/${'302/'.repeat(20)}end`)).status, 200);
	got.length = 0;
	assert.ok((await failure(send(`${url}/b/${'302/'.repeat(21)}end`))) instanceof TypeError);
	assert.equal(got.length, 21);
	assert.ok((await failure(send(`${url}/b/302/file`))) instanceof TypeError);
	assert.ok((await failure(send(`${url}/b/302/bad`))) instanceof TypeError);
	const error = await failure(send(`${url}/b/302/password`));
	assert.equal(error.code, 'bad_request');
	assert.doesNotMatch(inspect(error), /canary/);
});

test('no redirect leads from https to http', () => {
	assert.throws(() => nextHop(302, 'http://h/', 'https://h/', 'GET'), {code: 'bad_request'});
	assert.equal(nextHop(302, 'https://h/', 'http://h/', 'GET').url, 'https://h/');
	assert.ok(nextHop(302, 'https://h/', 'http://h/', 'GET').drops.includes('cookie'));
});

test('a Location in UTF-8', async () => {
	const {got, url, fetch: send} = await startPair({umlaut: Buffer.from('/b/ä?q=ö').toString('latin1')});
	await send(`${url}/b/302/umlaut`);
	assert.equal(got[1].url, '/b/%C3%A4?q=%C3%B6');
});

test('it can be given up: before, while signing, while reading', async () => {
	const {got, url} = await startRecorder((_, response) => response.write('first'));
	const daemon = await startFakeDaemon({one: url});
	const client = new AtlSign({socketPath: daemon.path});
	const before = await failure(client.fetch(`${url}/`, {signal: AbortSignal.abort()}));
	assert.equal(before.name, 'AbortError');
	assert.equal(got.length, 0);
	for (const make of [signal => [`${url}/`, {signal}], signal => [new Request(`${url}/`, {signal})]]) {
		const controller = new AbortController();
		const response = await client.fetch(...make(controller.signal));
		const reader = response.body.getReader();
		assert.equal(Buffer.from((await reader.read()).value).toString(), 'first');
		controller.abort();
		assert.equal((await failure(reader.read())).name, 'AbortError');
	}
});

test('bodies stream both ways at once', async () => {
	const {url} = await startRecorder();
	const http = await import('node:http');
	const server = http.createServer((request, response) => request.pipe(response)).listen(0, '127.0.0.1');
	await new Promise(done => server.on('listening', done));
	const echo = `http://127.0.0.1:${server.address().port}`;
	const daemon = await startFakeDaemon({one: echo});
	let push;
	const body = new ReadableStream({start: controller => { push = controller; }});
	push.enqueue(Buffer.from('one'));
	const response = await new AtlSign({socketPath: daemon.path}).fetch(`${echo}/`, {method: 'POST', body, duplex: 'half'});
	const reader = response.body.getReader();
	assert.equal(Buffer.from((await reader.read()).value).toString(), 'one');
	push.enqueue(Buffer.from('two'));
	assert.equal(Buffer.from((await reader.read()).value).toString(), 'two');
	push.close();
	assert.equal((await reader.read()).done, true);
	server.close();
	assert.ok(url);
});

test('an error of the network shows no signature', async () => {
	const {url} = await startRecorder((request, response) => response.destroy());
	const daemon = await startFakeDaemon({one: url});
	const error = await failure(new AtlSign({socketPath: daemon.path}).fetch(`${url}/`));
	assert.ok(!(error instanceof AtlSignError));
	assert.doesNotMatch(inspect(error, {depth: 9, showHidden: true}), /canary-/);
});
