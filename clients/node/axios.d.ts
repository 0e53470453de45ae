import type {AtlSign} from './index.js';

/** What is needed of an Axios instance, version 1. */
export interface AxiosLike {
	create(...options: never[]): unknown;
	getUri(...options: never[]): string;
	interceptors: {request: {use(...interceptor: never[]): number}};
}

/** Let an Axios instance sign what it sends; returns the interceptor's number, for `interceptors.request.eject`. */
export function signAxios(instance: AxiosLike, atlSign?: AtlSign): number;
