/** What the tests share: the lab of lab.py, servers that record what they get, and sockets that misbehave. */

import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {after} from 'node:test';
import {fileURLToPath} from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Start a sandbox and a daemon that has danced with Jira and Bamboo; `socket`, `jira`, `bamboo`… and `tell(command)`. */
export async function startLab() {
	const python = process.env.PYTHON ?? join(ROOT, '.venv/bin/python');
	const child = spawn(python, ['-m', 'tests.clients.node.lab'], {cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit']});
	after(async () => {
		child.stdin.end();
		if (child.exitCode === null) await once(child, 'exit');
	});
	const lines = createInterface({input: child.stdout})[Symbol.asyncIterator]();
	const read = async () => JSON.parse((await lines.next()).value);
	const tell = command => {
		child.stdin.write(`${command}\n`);
		return read();
	};
	const lab = {...(await read()), tell};
	process.env.ATL_SIGN_SOCK = lab.socket;
	process.env.ATL_SIGN_AUTOSTART = '0';
	return lab;
}

/** Return a folder with a short path, which goes away after the tests. */
export function makeFolder() {
	const folder = mkdtempSync(join(tmpdir(), 'atls-'));
	after(() => rmSync(folder, {recursive: true}));
	return folder;
}

/** Start an HTTP server that records {method, url, headers, body} and answers by *answer*(request, response, count). */
export async function startRecorder(answer = (_, response) => response.end('ok')) {
	const got = [];
	const server = http.createServer(async (request, response) => {
		const parts = [];
		for await (const part of request) parts.push(part);
		got.push({method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(parts).toString()});
		answer(request, response, got.length);
	});
	server.listen(0, '127.0.0.1');
	await once(server, 'listening');
	after(() => {
		server.closeAllConnections();
		server.close();
	});
	return {got, url: `http://127.0.0.1:${server.address().port}`};
}

/** Listen on a Unix socket and treat each connection with *talk*; returns {path, connections}. */
export async function startSocket(talk, path = join(makeFolder(), 's')) {
	const state = {path, connections: 0};
	const open = new Set();
	const server = net.createServer(socket => {
		state.connections++;
		open.add(socket);
		socket.on('error', () => {});
		socket.on('close', () => open.delete(socket));
		talk(socket);
	});
	server.listen(path);
	await once(server, 'listening');
	after(() => {
		for (const socket of open) socket.destroy();
		server.close();
	});
	return state;
}

/** Pass everything between a socket of its own and the daemon's, so that connections can be counted. */
export function startCounter(target) {
	return startSocket(socket => {
		const inner = net.connect(target);
		socket.pipe(inner).pipe(socket);
		inner.on('error', () => socket.destroy());
		socket.on('close', () => inner.destroy());
	});
}

/** Answer each request with *body* and *status*, after the head and the body have come. */
export const answering = (body, status = '200 OK') => socket =>
	socket.on('data', () => socket.write(`HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`));

let fakeCount = 0;
/** A daemon's answer for tests where no product verifies: each one another header. */
export const fakeHeader = () => `OAuth oauth_nonce="canary-${++fakeCount}"`;

/**
 * Start a fake daemon that signs for everything below *bases*, {name: URL}; `asked` has the questions. It stands in where the other
 * side is no product but a recorder, which takes any header.
 */
export async function startFakeDaemon(bases) {
	const asked = [];
	const path = join(makeFolder(), 'd');
	const server = http.createServer(async (request, response) => {
		const parts = [];
		for await (const part of request) parts.push(part);
		const question = JSON.parse(Buffer.concat(parts));
		asked.push(question);
		const link = Object.keys(bases).find(name => (question.link ?? name) === name && question.url.startsWith(`${bases[name]}/`));
		response.statusCode = link ? 200 : 404;
		response.end(
			JSON.stringify(
				link
					? {authorization: fakeHeader(), link, scheme: 'oauth1'}
					: {error: {code: 'unknown_link', message: 'no application link covers this URL', hint: null}},
			),
		);
	});
	server.listen(path);
	await once(server, 'listening');
	after(() => {
		server.closeAllConnections();
		server.close();
	});
	return {path, asked};
}
