/** Starts the user's daemon when none answers, as `atl-sign` does: by `atl-signd autostart`, which starts one for all who ask. */

import {AtlSignError} from './errors.js';

const START_MS = 15_000; // atl-signd itself gives up after 12 s

/** Resolve when a daemon answers on the socket that the environment names; rejects with `no_daemon` and the cause, or as *signal* says. */
export async function startDaemon(missing, signal) {
	if (process.env.ATL_SIGN_AUTOSTART === '0') throw missing;
	const {execFile} = await import('node:child_process');
	await new Promise((resolve, reject) => {
		const child = execFile('atl-signd', ['autostart'], {timeout: START_MS, signal}, (error, _, said) => {
			if (!error) resolve();
			else if (signal?.aborted) reject(signal.reason);
			else if (error.code === 'ENOENT') reject(missing);
			else {
				const [, why, hint] = /^atl-signd: (.*)\nhint: (.*)/.exec(said) ?? [null, error.killed ? `atl-signd took longer than ${START_MS / 1000} s` : ['atl-signd failed', lastError(said)].filter(Boolean).join(': '), 'see why: atl-signd autostart'];
				reject(new AtlSignError({code: 'no_daemon', message: `${missing.message}, and none could be started: ${why}`, hint}));
			}
		});
		child.stdin?.on('error', () => {});
		child.stdin?.end();
	});
}

/** The last line that names an error, out of a failure in foreign words, such as a broken Python's. */
function lastError(said) {
	const lines = said.trim().split('\n').reverse();
	return lines.find(line => /error:/i.test(line)) ?? lines[0];
}
