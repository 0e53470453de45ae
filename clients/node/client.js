/** The daemon's `POST /sign`, over a connection that is kept. */

import {Agent, request as httpRequest} from 'node:http';
import {inspect} from 'node:util';

import {AtlSignError, checkMethod, checkUrl, refusal} from './errors.js';
import {sendSigned} from './fetch.js';
import {findSocket, hintFor, noDaemon} from './socket.js';
import {startDaemon} from './start.js';

const ANSWER_LENGTH_MAX = 1_048_576;
const TIMEOUT_MS_MAX = 2_147_483_647; // what a timer holds
// Calls that follow each other share one connection. Of calls at the same time up to four run at once, so that one that waits for
// the keyring does not hold up the others; an idle connection keeps no process alive.
const AGENT = new Agent({keepAlive: true, maxSockets: 4, maxFreeSockets: 4, scheduling: 'lifo'});
const LOST = new Set(['ECONNRESET', 'EPIPE']); // what a connection says that the daemon closed while it was idle

export class AtlSign {
	#socketPath;
	#link;
	#timeoutMs;

	constructor({socketPath, link, timeoutMs = 5000} = {}) {
		this.#socketPath = socketPath;
		this.#link = link;
		this.#timeoutMs = timeoutMs;
	}

	/** Return {authorization, link, scheme} for one request, and `url` when it is to be sent to another address. */
	async sign({method, url, form, link = this.#link ?? (process.env.ATL_SIGN_LINK || undefined), signal} = {}) {
		const body = JSON.stringify({method: checkMethod(method), url: readUrl(url), form: readForm(form), link});
		const {status, text} = await ask(this.#socketPath, body, readTimeout(this.#timeoutMs), signal);
		if (status !== 200) throw readError(text);
		return readSigned(text);
	}

	/** The global `fetch`, with a signature for each request that goes out. */
	fetch(input, init) {
		return sendSigned(request => this.sign(request), input, init);
	}
}

function readUrl(url) {
	if (typeof url !== 'string' && !(url instanceof URL)) throw refusal('the URL is neither a string nor a URL');
	return checkUrl(String(url));
}

function readForm(form) {
	if (form === undefined || form === null || typeof form === 'string') return form ?? undefined;
	if (form instanceof URLSearchParams) return String(form);
	const isPairs = Array.isArray(form) && form.every(pair => Array.isArray(pair) && pair.length === 2 && pair.every(part => typeof part === 'string'));
	if (!isPairs) throw refusal('the form is not a string, a URLSearchParams or a list of pairs of strings');
	return form;
}

function readTimeout(timeoutMs) {
	if (typeof timeoutMs !== 'number' || !(timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX)) {
		throw refusal(`timeoutMs is not a number of milliseconds up to ${TIMEOUT_MS_MAX}`);
	}
	return timeoutMs;
}

/** As askOnce; when nobody answers on the user's own socket, a daemon is started, and asked with a time of its own. */
async function ask(socketPath, body, timeoutMs, signal) {
	try {
		return await askOnce(socketPath, body, timeoutMs, signal);
	} catch (error) {
		// A program that names a socket of its own has a daemon of its own.
		if (!(error instanceof AtlSignError) || error.code !== 'no_daemon' || socketPath !== undefined) throw error;
		await startDaemon(error, signal);
		return askOnce(socketPath, body, timeoutMs, signal);
	}
}

/** Return the daemon's answer {status, text}; connecting, asking and reading have *timeoutMs* together. */
function askOnce(socketPath, body, timeoutMs, signal) {
	return new Promise((resolve, reject) => {
		signal?.throwIfAborted();
		let request;
		let isOver = false;
		// One timer and one listener for all attempts: an AbortController of our own for each call would cost more than the call.
		const end = settle => value => {
			isOver = true;
			clearTimeout(timer);
			signal?.removeEventListener('abort', stop);
			settle(value);
		};
		const [done, fail] = [end(resolve), end(reject)];
		const stop = () => {
			fail(signal.reason);
			request.destroy();
		};
		const timer = setTimeout(() => {
			fail(
				new AtlSignError({
					code: 'daemon_timeout',
					message: `the daemon did not answer within ${timeoutMs} ms`,
					hint: hintFor(socketPath, 'is it stopped or overloaded? atl-sign status'),
				}),
			);
			request.destroy();
		}, timeoutMs);
		signal?.addEventListener('abort', stop, {once: true});
		const attempt = () => {
			if (isOver) return; // what was destroyed after the end looks like an old connection
			try {
				request = exchange(findSocket(socketPath), body, done, fail, attempt);
			} catch (error) {
				fail(error);
			}
		};
		attempt();
	});
}

/** Send one question; calls *done* with {status, text}, *fail* with an error, or *again* when only the kept connection was old. */
function exchange(socketPath, body, done, fail, again) {
	const request = httpRequest({
		socketPath,
		agent: AGENT,
		method: 'POST',
		path: '/sign',
		headers: ['Host', 'localhost', 'Accept', 'application/json', 'Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))],
	});
	let response;
	// Neither this error nor a parser's goes on as a cause: they hold what came in.
	const give = error => {
		if (!response && request.reusedSocket && LOST.has(error.code)) again();
		else if (error.syscall === 'connect') fail(noDaemon(`nobody answers on ${socketPath}: ${error.code}`, socketPath));
		else fail(badAnswer(response || LOST.has(error.code) ? 'it ended in the middle' : 'it is not HTTP'));
	};
	request.on('error', give);
	request.on('response', arrived => {
		response = arrived;
		let text = '';
		response.setEncoding('utf8');
		response.on('data', part => {
			text += part;
			if (text.length > ANSWER_LENGTH_MAX) {
				fail(badAnswer('it is too long'));
				request.destroy();
			}
		});
		response.on('error', give);
		response.on('end', () => done({status: response.statusCode, text}));
	});
	request.on('upgrade', (_, socket) => {
		socket.destroy();
		fail(badAnswer('it is not an HTTP answer'));
	});
	request.end(body);
	return request;
}

function readSigned(text) {
	const answer = parse(text);
	// A visible header value and nothing else: what is put into a request must not be able to end its line.
	if (!/^[\x21-\x7e][\x20-\x7e]*$/.test(answer.authorization) || typeof answer.authorization !== 'string') throw badAnswer('it has no header');
	if (typeof answer.link !== 'string' || typeof answer.scheme !== 'string') throw badAnswer('it names no link or no scheme');
	if (typeof answer.warning === 'string') process.emitWarning(answer.warning, 'AtlSignWarning');
	if (answer.url !== undefined && !/^https?:\/\/[\x21-\x7e]+$/.test(answer.url)) throw badAnswer('its URL is not an http or https URL');
	const signed = {authorization: answer.authorization, link: answer.link, scheme: answer.scheme, ...(answer.url && {url: answer.url})};
	// A log that prints this prints no header.
	return Object.defineProperty(signed, inspect.custom, {value: () => ({...signed, authorization: '<secret>'})});
}

function readError(text) {
	const {code, message, hint} = parse(text).error ?? {};
	if (typeof code !== 'string' || typeof message !== 'string') return badAnswer('its error has no code');
	return new AtlSignError({code, message, hint: typeof hint === 'string' ? hint : null});
}

function parse(text) {
	let answer;
	try {
		answer = JSON.parse(text);
	} catch {
		throw badAnswer('it is not JSON'); // without the cause, which quotes the answer
	}
	return answer !== null && typeof answer === 'object' ? answer : {};
}

const badAnswer = why =>
	new AtlSignError({code: 'bad_answer', message: `what listens on the socket gave no answer of the daemon: ${why}`, hint: 'is another program there? atl-sign status'});
