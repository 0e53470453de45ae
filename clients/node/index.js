/** Asks the user's atl-sign daemon, on its Unix socket, to sign requests to Atlassian products; holds no secret itself. */

import {AtlSign} from './client.js';

export {AtlSign};
export {AtlSignError} from './errors.js';

const DEFAULT = new AtlSign();

/** Sign one request with the daemon at the usual place. */
export const sign = request => DEFAULT.sign(request);

/** The global `fetch`, signed by the daemon at the usual place. */
export const signedFetch = (input, init) => DEFAULT.fetch(input, init);
