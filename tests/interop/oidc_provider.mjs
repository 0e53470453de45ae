// The npm package oidc-provider on a free loopback port, with login and consent pages of ours.
// in, the first line: {"clients": [RFC 7591 metadata, …], "users": {name: password}, "lifetimes_s": {"AccessToken", "RefreshToken", …}}
//   where "{port}" stands for the port
// out, one line: {"port"}
// to standard error, for each request to the token endpoint: "token: GRANT_TYPE OUTCOME", which is "ok" or an error code
// It ends when standard input does.
import {createServer} from 'node:http';
import {createInterface} from 'node:readline';
import {text} from 'node:stream/consumers';

console.info = console.error; // the package prints notices there; standard output is only for the port
const {default: Provider} = await import('oidc-provider');

const escape = value => String(value).replace(/[&<>"']/g, char => `&#${char.charCodeAt(0)};`);
const page = (heading, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escape(heading)}</title>
<h1>${escape(heading)}</h1>${body}</html>`;
const alert = words => (words ? `<p role="alert">${escape(words)}</p>` : '');

const loginPage = words =>
	page('Log in', `${alert(words)}<form method="post"><input name="username" autofocus><input type="password" name="password">
<button>Log in</button></form>`);
const consentPage = (client, scope) =>
	page(`Allow ${client}?`, `<p>${escape(scope)}</p><form method="post"><button name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button></form>`);

// The default pages load a font from another host.
const deviceFlow = {
	enabled: true,
	userCodeInputSource(ctx, form, out, error) {
		ctx.body =
			error?.name === 'AbortedError'
				? page('Device denied', '')
				: page('Enter the code', `${alert(error?.name)}${form}<button form="op.deviceInputForm">Continue</button>`);
	},
	userCodeConfirmSource(ctx, form, client, info, code) {
		ctx.body = page(`Is it ${code}?`, `${form}<button form="op.deviceConfirmForm">Continue</button>
<button form="op.deviceConfirmForm" name="abort" value="yes">Abort</button>`);
	},
	successSource(ctx) {
		ctx.body = page('Device allowed', '');
	},
};

function makeProvider(issuer, {clients, users, lifetimes_s: ttl}) {
	return new Provider(issuer, {
		clients,
		ttl,
		clockTolerance: 0, // with the default, 15, a token of two seconds is valid for 17
		claims: {openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified']},
		cookies: {keys: [issuer]},
		scopes: ['openid', 'offline_access', 'profile', 'email'],
		pkce: {required: () => true},
		responseTypes: ['code'],
		rotateRefreshToken: true,
		features: {
			deviceFlow,
			devInteractions: {enabled: false},
			revocation: {enabled: true},
			rpInitiatedLogout: {enabled: false},
		},
		interactions: {url: (ctx, {uid}) => `/interaction/${uid}`},
		findAccount: (ctx, id) =>
			Object.hasOwn(users, id) && {
				accountId: id,
				claims: () => ({sub: id, preferred_username: id, email: `${id}@example.com`, email_verified: true}),
			},
		renderError(ctx, out) {
			ctx.type = 'html';
			ctx.body = page(out.error, alert(out.error_description));
		},
	});
}

async function interact(provider, users, request, response) {
	const {prompt, params, session, grantId} = await provider.interactionDetails(request, response);
	const form = request.method === 'POST' && new URLSearchParams(await text(request));
	const show = html => response.setHeader('Content-Type', 'text/html').end(html);
	const finish = result => provider.interactionFinished(request, response, result);
	if (prompt.name === 'login') {
		if (!form) return show(loginPage());
		const name = form.get('username');
		if (!Object.hasOwn(users, name) || users[name] !== form.get('password')) return show(loginPage('wrong name or password'));
		return finish({login: {accountId: name}});
	}
	if (!form) return show(consentPage(params.client_id, params.scope));
	if (form.get('decision') !== 'allow') return finish({error: 'access_denied', error_description: 'the user has refused'});
	const {accountId} = session;
	const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({accountId, clientId: params.client_id});
	grant.addOIDCScope(params.scope);
	return finish({consent: {grantId: await grant.save()}});
}

async function serve(line) {
	const server = createServer().listen(0, '127.0.0.1');
	await new Promise(listening => server.once('listening', listening));
	const {port} = server.address();
	const configuration = JSON.parse(line.replaceAll('{port}', port));
	const provider = makeProvider(`http://127.0.0.1:${port}`, configuration);
	const note = ({oidc}, outcome) => console.error(`token: ${oidc.params?.grant_type} ${outcome}`);
	provider.on('grant.success', ctx => note(ctx, 'ok'));
	provider.on('grant.error', (ctx, {error}) => note(ctx, error));
	const answer = provider.callback();
	server.on('request', (request, response) => {
		if (!request.url.startsWith('/interaction/')) return answer(request, response);
		interact(provider, configuration.users, request, response).catch(error => {
			console.error(error);
			response.writeHead(400, {'Content-Type': 'text/html'}).end(page(error.name, alert(error.message)));
		});
	});
	console.log(JSON.stringify({port}));
}

createInterface({input: process.stdin})
	.once('line', serve)
	.on('close', () => process.exit());
