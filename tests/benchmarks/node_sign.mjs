/** Prints the median microseconds of `sign` and of the same call by a bare socket client, by turns: node node_sign.mjs SOCKET URL ROUNDS */

import net from 'node:net';

import {AtlSign} from '../../clients/node/index.js';

const [socketPath, url, rounds] = process.argv.slice(2);
const BATCH = 50;

/** A client that does nothing but send the same bytes and receive. */
class Bare {
	constructor() {
		const body = JSON.stringify({method: 'GET', url});
		this.request = `POST /sign HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
		this.answer = '';
		this.socket = net.connect(socketPath).setEncoding('latin1').on('data', part => {
			this.answer += part;
			if (this.answer.endsWith('}')) this.done(this.answer);
		});
	}

	async sign() {
		this.answer = '';
		const answer = await new Promise(done => {
			this.done = done;
			this.socket.write(this.request);
		});
		if (!answer.startsWith('HTTP/1.1 200 ')) throw new Error('not signed');
	}
}

const median = times => times.sort((a, b) => a - b)[times.length >> 1];
const client = new AtlSign({socketPath});
const bare = new Bare();
const calls = [() => client.sign({method: 'GET', url}), () => bare.sign()];
const times = [[], []];
for (let round = 0; round < Number(rounds) + BATCH * 4; round += BATCH) {
	for (const [which, call] of calls.entries()) {
		for (let count = 0; count < BATCH; count++) {
			const startedAt = process.hrtime.bigint();
			await call();
			if (round >= BATCH * 4) times[which].push(Number(process.hrtime.bigint() - startedAt) / 1000);
		}
	}
}
bare.socket.destroy();
console.log(JSON.stringify(times.map(median)));
