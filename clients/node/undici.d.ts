import type {AtlSign} from './index.js';

/** Return an interceptor for `compose` of an undici dispatcher; it must stand first there. */
export function signUndici(
	atlSign?: AtlSign,
	options?: {
		/** Of a Client or a Pool, which do not say it themselves. */
		origin?: string | URL | undefined;
	},
): <Dispatch extends (options: any, handler: any) => boolean>(dispatch: Dispatch) => Dispatch;
