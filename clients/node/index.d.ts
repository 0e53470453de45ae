/** The request to sign. */
export interface SignRequest {
	/** The request's method, as it will be sent. */
	method: string;
	/** The absolute URL, exactly as it will be sent. */
	url: string | URL;
	/** The body, when its content type is `application/x-www-form-urlencoded`: as it will be sent, or as decoded pairs. */
	form?: string | URLSearchParams | ReadonlyArray<readonly [string, string]> | null | undefined;
	/** The link to sign for, instead of the client's own. */
	link?: string | undefined;
	/** Gives the question up. */
	signal?: AbortSignal | null | undefined;
}

export interface Signed {
	/** The value of the Authorization header: a signature, good for this one request, or a token; a secret. */
	readonly authorization: string;
	/** Where to send the request, when that is not the URL that was asked for. */
	readonly url?: string;
	/** The link it is signed for. */
	readonly link: string;
	readonly scheme: string;
}

export interface AtlSignOptions {
	/** Instead of the usual place. */
	socketPath?: string | undefined;
	/** The name of the link to sign for, instead of that of `ATL_SIGN_LINK`, or the one whose address covers the URL. */
	link?: string | undefined;
	/** For connecting, asking and the answer together; 5000 by default. */
	timeoutMs?: number | undefined;
}

/** The codes that this client makes itself; the daemon's are in docs/errors.md. */
export type ClientErrorCode = 'no_daemon' | 'daemon_timeout' | 'bad_answer' | 'bad_socket' | 'bad_request';

/** The daemon, or this client before it asked, said no. */
export class AtlSignError extends Error {
	constructor(error: {code: ClientErrorCode | (string & {}); message: string; hint?: string | null}, options?: {cause?: unknown});
	/** The code that programs match on. */
	readonly code: ClientErrorCode | (string & {});
	/** How to fix it. */
	readonly hint: string | null;
}

/** A client of the user's daemon. */
export class AtlSign {
	constructor(options?: AtlSignOptions);
	/** Sign one request; rejects with AtlSignError. */
	sign(request: SignRequest): Promise<Signed>;
	/** The global `fetch`, with a signature for each request that goes out. */
	fetch(...request: Parameters<typeof fetch>): Promise<Response>;
}

/** Sign one request with the daemon at the usual place; rejects with AtlSignError. */
export function sign(request: SignRequest): Promise<Signed>;

/** The global `fetch`, signed by the daemon at the usual place. */
export const signedFetch: typeof fetch;
