import type {AtlSign} from './index.js';

/** The parts of an Axios instance that are used, version 1. */
export interface AxiosLike {
	create(...options: never[]): unknown;
	getUri(...options: never[]): string;
	interceptors: {request: {use(...interceptor: never[]): number}};
}

/** Let an Axios instance sign what it sends; returns the interceptor's number, for `interceptors.request.eject`. */
export function signAxios(instance: AxiosLike, atlSign?: AtlSign): number;
