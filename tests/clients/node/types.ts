/** What a program may write, checked by `tsc --strict`; each `@ts-expect-error` must be an error. */

import {AtlSign, AtlSignError, sign, signedFetch} from 'atl-sign';
import type {AtlSignOptions, ClientErrorCode, Signed} from 'atl-sign';
import {signAxios} from 'atl-sign/axios';
import {signUndici} from 'atl-sign/undici';
import axios from 'axios';
import {Agent, Client, interceptors} from 'undici';

const options: AtlSignOptions = {socketPath: '/s', link: 'jira', timeoutMs: 1000};
const client = new AtlSign(options);
new AtlSign();
const signed: Signed = await client.sign({method: 'GET', url: new URL('https://h/'), form: [['a', 'b']], signal: AbortSignal.timeout(1)});
const header: string = signed.authorization;
await sign({method: 'POST', url: 'https://h/', form: new URLSearchParams()});
const plain: typeof fetch = signedFetch;
const response: Response = await client.fetch(new Request('https://h/'), {method: 'POST', body: header});
try {
	await plain(new URL(response.url));
} catch (error) {
	if (error instanceof AtlSignError) {
		const code: string = error.code;
		const hint: string | null = error.hint;
		const known: ClientErrorCode | (string & {}) = error.code;
		console.log(code, hint, known === 'no_daemon');
	}
}
const number: number = signAxios(axios);
signAxios(axios.create({baseURL: 'https://h'}), client);
axios.interceptors.request.eject(number);
const dispatcher = new Agent().compose(signUndici(client), interceptors.retry({maxRetries: 1}));
new Client('https://h').compose(signUndici(undefined, {origin: 'https://h'}));
await dispatcher.close();

// @ts-expect-error: no method
sign({url: 'https://h/'});
// @ts-expect-error: no such option
new AtlSign({socket: '/s'});
// @ts-expect-error: a number of milliseconds
new AtlSign({timeoutMs: '5'});
// @ts-expect-error: pairs, not an object
sign({method: 'POST', url: 'https://h/', form: {a: 'b'}});
// @ts-expect-error: a secret is not written to
signed.authorization = 'x';
// @ts-expect-error: an instance is needed
signAxios();
// @ts-expect-error: no client of ours
signUndici({link: 'jira'});
// @ts-expect-error: fetch needs an input
signedFetch();
