/** `sign`, its connection to the daemon, and what may go wrong there. */

import assert from 'node:assert/strict';
import {execFile} from 'node:child_process';
import {symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import {inspect, promisify} from 'node:util';

import {AtlSign, AtlSignError, sign} from 'atl-sign';

import {answering, makeFolder, startCounter, startLab, startSocket} from './lab.js';

const lab = await startLab();
const myself = `${lab.jira}/rest/api/2/myself`;

/** Assert that *promise* is refused with *code*, and return the error; *about* is told when it is not. */
async function refused(promise, code, about) {
	const error = await promise.then(
		() => assert.fail('it was not refused'),
		failure => failure,
	);
	assert.ok(error instanceof AtlSignError, inspect(error));
	assert.equal(error.code, code, about);
	assert.equal(error.name, 'AtlSignError');
	return error;
}

test('a form of 1 MiB, and more parameters than many servers read', async () => {
	const warnings = [];
	const note = warning => warnings.push(warning);
	process.on('warning', note);
	const url = `${lab.bamboo}/rest/api/latest/queue/WEB-BUILD`;
	const form = 'a='.padEnd(1_048_576, '%C3%A9xx');
	for (const body of [form, new URLSearchParams([['a', 'x'.repeat(1_048_574)]])]) assert.match((await sign({method: 'POST', url, form: body})).authorization, /^OAuth/);
	await assert.rejects(sign({method: 'POST', url, form: `${form}x`}), {code: 'too_large', message: 'the form is over 1048576 bytes'});
	await sign({method: 'POST', url, form: Array(1000).fill(['a', 'b'])});
	await new Promise(setImmediate);
	assert.equal(warnings.length, 0);
	await sign({method: 'POST', url, form: Array(1001).fill(['a', 'b'])});
	await new Promise(setImmediate);
	process.off('warning', note);
	assert.deepEqual(warnings.map(({name}) => name), ['AtlSignWarning']);
	assert.match(warnings[0].message, /^the request has 1001 parameters; many servers read only the first 1000 /);
});

test('a signature is taken by the product, and another URL with it is not', async () => {
	const signed = await sign({method: 'GET', url: myself});
	const send = async url => (await fetch(url, {headers: {authorization: signed.authorization}})).status;

	assert.deepEqual(Object.keys(signed), ['authorization', 'link', 'scheme']);
	assert.equal(signed.link, 'jira');
	assert.equal(signed.scheme, 'oauth1');
	assert.equal(await send(`${myself}?x=1`), 401);
	const again = await sign({method: 'GET', url: new URL(myself)});
	assert.equal((await fetch(myself, {headers: {authorization: again.authorization}})).status, 200);
});

test('a form is signed in each of its shapes', async () => {
	const url = `${lab.bamboo}/rest/api/latest/queue/WEB-BUILD`;
	for (const form of ['a=1+%26&stage', new URLSearchParams({a: 'ä b', stage: ''}), [['a', '1 &'], ['stage', '']]]) {
		const {authorization} = await sign({method: 'POST', url, form});
		const body = Array.isArray(form) ? new URLSearchParams(form) : form;
		const headers = {authorization, 'x-atlassian-token': 'no-check', 'content-type': 'application/x-www-form-urlencoded'};
		assert.equal((await fetch(url, {method: 'POST', headers, body})).status, 200);
		const twin = await sign({method: 'POST', url});
		assert.equal((await fetch(url, {method: 'POST', headers: {...headers, authorization: twin.authorization}, body})).status, 401);
	}
});

test('calls that follow each other share one connection, and a thousand at once work', async () => {
	const counter = await startCounter(lab.socket);
	const client = new AtlSign({socketPath: counter.path, timeoutMs: 60_000});
	for (let count = 0; count < 50; count++) await client.sign({method: 'GET', url: myself});
	assert.equal(counter.connections, 1);

	const many = await Promise.all(Array.from({length: 1000}, (_, number) => client.sign({method: 'GET', url: `${myself}?n=${number}`})));

	assert.equal(new Set(many.map(each => each.authorization)).size, 1000);
	assert.ok(counter.connections <= 4, `${counter.connections} connections`);
});

test('after the daemon was started anew the next call works', async () => {
	await sign({method: 'GET', url: myself});
	await lab.tell('restart');
	await sign({method: 'GET', url: myself});
	await lab.tell('requests');
});

test('a connection that was closed while the call was on its way is opened anew', async () => {
	const good = JSON.stringify({authorization: 'OAuth x', link: 'l', scheme: 's'});
	const server = await startSocket(socket => {
		let count = 0;
		socket.on('data', () => (++count > 1 ? socket.destroy() : answering(good)({on: (_, talk) => talk(), write: text => socket.write(text)})));
	});
	const client = new AtlSign({socketPath: server.path});
	for (let count = 0; count < 3; count++) assert.equal((await client.sign({method: 'GET', url: myself})).link, 'l');
	assert.equal(server.connections, 3);
});

test('what the daemon refuses keeps its code and hint', async () => {
	const error = await refused(sign({method: 'GET', url: 'https://elsewhere.example.com/'}), 'unknown_link');
	assert.match(error.hint, /^atl-sign link add/);
	await refused(sign({method: 'PUT', url: myself, form: 'a=1'}), 'bad_request');
	await refused(sign({method: 'GET', url: `${myself}?x=%zz`}), 'bad_url');
	await refused(sign({method: 'GET', url: myself, link: 'bamboo'}), 'unknown_link');
	await refused(new AtlSign({link: 'nothing'}).sign({method: 'GET', url: myself}), 'unknown_link');
});

test('ATL_SIGN_LINK names a link; one that is given goes before it, and an empty value is none', async t => {
	t.after(() => delete process.env.ATL_SIGN_LINK);

	process.env.ATL_SIGN_LINK = 'nothing';

	await refused(sign({method: 'GET', url: myself}), 'unknown_link');
	assert.equal((await new AtlSign({link: 'jira'}).sign({method: 'GET', url: myself})).link, 'jira');
	assert.equal((await sign({method: 'GET', url: myself, link: 'jira'})).link, 'jira');
	process.env.ATL_SIGN_LINK = '';
	assert.equal((await sign({method: 'GET', url: myself})).link, 'jira');
});

test('what could smuggle is refused before the daemon is asked', async () => {
	const server = await startSocket(() => {});
	const client = new AtlSign({socketPath: server.path});
	for (const method of ['GET\r\nX: y', 'GET ', '', 'G\0T', 7, undefined, 'x'.repeat(65)]) await refused(client.sign({method, url: myself}), 'bad_request');
	const urls = ['https://h/\r\nX: y', 'https://h/a b', 'https://h/\0', '\thttps://h/', 'https://ann:secret@h/', 'https:\\\\ann@h/', 'https://h\n', 7, null];
	for (const url of urls) {
		const error = await refused(client.sign({method: 'GET', url}), 'bad_request');
		assert.doesNotMatch(inspect(error), /secret/);
	}
	await refused(client.sign({method: 'GET', url: new URL('https://ann:secret@h/')}), 'bad_request');
	for (const form of [7, {a: 1}, [['a']], [['a', 1]]]) await refused(client.sign({method: 'POST', url: myself, form}), 'bad_request');
	for (const timeoutMs of [0, -1, NaN, Infinity, '5', null]) await refused(new AtlSign({socketPath: server.path, timeoutMs}).sign({method: 'GET', url: myself}), 'bad_request');
	await refused(client.sign(), 'bad_request');
	assert.equal(server.connections, 0);
});

test('no daemon, and no socket of ours', async () => {
	const folder = makeFolder();
	const at = socketPath => new AtlSign({socketPath}).sign({method: 'GET', url: myself});
	assert.match((await refused(at(join(folder, 'none')), 'no_daemon')).hint, /atl-sign serve/);
	await refused(at(`${lab.socket}/x`), 'no_daemon');
	writeFileSync(join(folder, 'file'), '');
	await refused(at(join(folder, 'file')), 'bad_socket');
	symlinkSync(join(folder, 'nowhere'), join(folder, 'broken'));
	await refused(at(join(folder, 'broken')), 'no_daemon');
	symlinkSync(join(folder, 'loop'), join(folder, 'loop'));
	await refused(at(join(folder, 'loop')), 'bad_socket');
	await refused(at('/x'.repeat(60)), 'bad_socket');
	await refused(at('a\0b'), 'bad_socket');
	symlinkSync(lab.socket, join(folder, 'ours'));
	assert.equal((await at(join(folder, 'ours'))).link, 'jira');
});

test('a socket of another user, itself or behind a link', {skip: process.getuid() !== 0 && 'only root can give a file away'}, async () => {
	const {chownSync, lchownSync} = await import('node:fs');
	const server = await startSocket(() => {});
	const at = socketPath => new AtlSign({socketPath}).sign({method: 'GET', url: myself});
	const folder = makeFolder();
	symlinkSync(server.path, join(folder, 'link'));
	chownSync(server.path, 12345, 12345);
	assert.match((await refused(at(server.path), 'bad_socket')).message, /another user/);
	await refused(at(join(folder, 'link')), 'bad_socket');
	symlinkSync(lab.socket, join(folder, 'theirs'));
	lchownSync(join(folder, 'theirs'), 12345, 12345);
	await refused(at(join(folder, 'theirs')), 'bad_socket');
	assert.equal(server.connections, 0);
});

test('a way that others can change is refused, and one that they cannot is taken', {skip: process.getuid() !== 0 && 'only root can give a folder away'}, async () => {
	const {chmodSync, chownSync, mkdirSync} = await import('node:fs');
	const folder = makeFolder();
	mkdirSync(join(folder, 'up/own'), {recursive: true, mode: 0o700});
	const server = await startSocket(() => {}, join(folder, 'up/own/s'));
	const at = socketPath => new AtlSign({socketPath, timeoutMs: 200}).sign({method: 'GET', url: myself});
	const set = (name, mode, uid, gid) => {
		chownSync(join(folder, name), uid, gid);
		chmodSync(join(folder, name), mode);
	};
	symlinkSync(join(folder, 'up'), join(folder, 'link'));
	const taken = [['up', 0o1777, 0, 0], ['up', 0o775, 0, 0], ['up/own', 0o755, 0, 0]];
	const refusedOnes = [['up', 0o777, 0, 0], ['up', 0o775, 0, 12345], ['up', 0o755, 12345, 0], ['up/own', 0o1777, 0, 0], ['up/own', 0o770, 0, 0], ['up/own', 0o755, 12345, 0]];
	for (const [name, ...rest] of taken) {
		set(name, ...rest);
		await refused(at(server.path), 'daemon_timeout');
		set(name, 0o700, 0, 0);
	}
	const {connections} = server;
	assert.equal(connections, taken.length);
	for (const [name, ...rest] of refusedOnes) {
		set(name, ...rest);
		for (const path of [server.path, join(folder, 'link/own/s')]) {
			assert.match((await refused(at(path), 'bad_socket')).message, /^other users can change what is in /);
		}
		set(name, 0o700, 0, 0);
	}
	assert.equal(server.connections, connections);
});

test('a server that closed its socket, and one that never answers', async () => {
	const gone = await startSocket(() => {});
	const {renameSync} = await import('node:fs');
	renameSync(gone.path, `${gone.path}2`);
	await refused(new AtlSign({socketPath: gone.path}).sign({method: 'GET', url: myself}), 'no_daemon');
	const silent = await startSocket(socket => socket.resume());
	const startedAt = performance.now();
	await refused(new AtlSign({socketPath: silent.path, timeoutMs: 100}).sign({method: 'GET', url: myself}), 'daemon_timeout');
	assert.ok(performance.now() - startedAt < 4000);
	const slow = await startSocket(socket => socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{')));
	await refused(new AtlSign({socketPath: slow.path, timeoutMs: 100}).sign({method: 'GET', url: myself}), 'daemon_timeout');
});

test('what is no daemon: absent, silent or broken', async () => {
	const codes = {absent: 'no_daemon', silent: 'daemon_timeout', broken: 'bad_answer'};
	// Node connects without blocking, and a full queue is then as good as nobody.
	const others = {no_socket: 'bad_socket', folder: 'bad_socket', queue_full: 'no_daemon'};
	const bad = await lab.tell('bad daemons');
	assert.ok(bad.length > 40);
	await Promise.all(
		bad.map(async ({kind, visible, socket}) => {
			const client = new AtlSign({socketPath: socket, timeoutMs: visible === 'silent' ? 300 : 5000});
			const error = await refused(client.sign({method: 'GET', url: myself}), others[kind] ?? codes[visible], kind);
			assert.doesNotMatch(inspect(error, {depth: 9, showHidden: true}), /canary/, kind);
		}),
	);
});

test('chunks, switches and fields that are not quite right', async () => {
	const signed = fields => answering(JSON.stringify({authorization: 'OAuth canary', link: 'l', scheme: 's', ...fields}));
	const end = text => socket => socket.on('data', () => socket.end(text));
	const talks = [
		end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\ncanary'),
		end('HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
		answering('{"detail": "canary"}', '500 No'),
		answering(`"${'x'.repeat(1_100_000)}"`),
		signed({authorization: ['OAuth canary']}),
		signed({link: 7}),
		signed({scheme: null}),
	];
	for (const talk of talks) {
		const server = await startSocket(talk);
		const error = await refused(new AtlSign({socketPath: server.path}).sign({method: 'GET', url: myself}), 'bad_answer');
		assert.doesNotMatch(inspect(error, {depth: 9, showHidden: true}), /canary/, String(talk));
	}
	const twin = await startSocket(signed({}));
	assert.equal((await new AtlSign({socketPath: twin.path}).sign({method: 'GET', url: myself})).authorization, 'OAuth canary');
});

test('a call can be given up', async () => {
	const silent = await startSocket(socket => socket.resume());
	const client = new AtlSign({socketPath: silent.path});
	const controller = new AbortController();
	const call = client.sign({method: 'GET', url: myself, signal: controller.signal});
	setImmediate(() => controller.abort(new Error('enough')));
	await assert.rejects(call, /enough/);
	await assert.rejects(client.sign({method: 'GET', url: myself, signal: AbortSignal.abort(new Error('before'))}), /before/);
});

test('the signed header is not printed', async () => {
	const signed = await sign({method: 'GET', url: myself});
	assert.match(signed.authorization, /oauth_signature/);
	assert.doesNotMatch(inspect(signed, {depth: 9}), /oauth_/);
	assert.doesNotMatch(inspect(new AtlSign(), {depth: 9, showHidden: true}), /oauth_/);
});

/** Run a module's text in a process of its own; returns what it printed. */
async function run(code, environment) {
	const done = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
		cwd: import.meta.dirname ?? new URL('.', import.meta.url).pathname,
		env: {PATH: process.env.PATH, ATL_SIGN_AUTOSTART: '0', ...environment},
		timeout: 20_000,
	});
	return done.stdout.trim();
}

test('an idle connection keeps no process alive', async () => {
	const code = `import {sign} from 'atl-sign'; console.log((await sign({method: 'GET', url: '${myself}'})).link)`;
	assert.equal(await run(code, {ATL_SIGN_SOCK: lab.socket}), 'jira');
});

test('the socket is found by the rule of every client', async () => {
	const code = `import {sign} from 'atl-sign'; console.log(await sign({method: 'GET', url: '${myself}'}).then(s => s.link, e => e.message))`;
	const folder = makeFolder();
	assert.equal(await run(code, {XDG_RUNTIME_DIR: `${lab.folder}/run`}), 'jira');
	assert.equal(await run(code, {XDG_RUNTIME_DIR: `${lab.folder}/run`, ATL_SIGN_SOCK: `${folder}/x`}), `there is no daemon on ${folder}/x`);
	const next = /no daemon on (\/run\/user\/\d+|.*\/\.local\/state)\/atl-sign\/agent.sock$/;
	assert.match(await run(code, {ATL_SIGN_SOCK: '', XDG_RUNTIME_DIR: '', HOME: folder}), next);
	assert.match(await run(code, {XDG_RUNTIME_DIR: join(folder, 'missing'), HOME: folder}), next);
	if (process.getuid() === 0) {
		const {chownSync} = await import('node:fs');
		chownSync(folder, 12345, 12345); // what su leaves in the environment
		assert.match(await run(code, {XDG_RUNTIME_DIR: folder, HOME: folder}), next);
	}
});
