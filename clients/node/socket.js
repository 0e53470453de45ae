/** Where the daemon's socket is, and whether it is ours. */

import {lstatSync, statSync} from 'node:fs';
import {homedir} from 'node:os';
import {isAbsolute} from 'node:path';

import {AtlSignError} from './errors.js';

const PATH_BYTES_MAX = 107; // sun_path holds 108 with the zero at its end (unix(7)); older Node versions cut a longer one off

/** Return the socket's path by the one rule of every client: ATL_SIGN_SOCK, XDG_RUNTIME_DIR, /run/user, then the home folder. */
function defaultPath() {
	if (process.env.ATL_SIGN_SOCK) return process.env.ATL_SIGN_SOCK;
	if (process.env.XDG_RUNTIME_DIR) return `${process.env.XDG_RUNTIME_DIR}/atl-sign/agent.sock`;
	const uid = process.getuid();
	const run = statSync(`/run/user/${uid}`, {throwIfNoEntry: false});
	return `${run?.isDirectory() && run.uid === uid ? `/run/user/${uid}` : `${homedir()}/.local/state`}/atl-sign/agent.sock`;
}

const badSocket = (message, hint) => new AtlSignError({code: 'bad_socket', message, hint});

export const noDaemon = (message, path) => new AtlSignError({code: 'no_daemon', message, hint: hintFor(path, 'start it: atl-sign serve &')});

/** Return *hint*, or what to do where `atl-sign service install` linked the unit of the socket at *path*: there systemd starts the daemon. */
export function hintFor(path, hint) {
	const run = process.env.XDG_RUNTIME_DIR || `/run/user/${process.getuid()}`;
	const unit = `${process.env.XDG_CONFIG_HOME || `${homedir()}/.config`}/systemd/user/atl-signd.socket`;
	const isSystemds = (path ?? defaultPath()) === `${run}/atl-sign/agent.sock` && lstatSync(unit, {throwIfNoEntry: false})?.isSymbolicLink();
	return isSystemds ? 'atl-sign service status' : hint;
}

/**
 * Return the path of a socket that is ours.
 *
 * Throws AtlSignError: `no_daemon` when nothing is there; `bad_socket` when what is there is no socket, or not ours.
 */
export function findSocket(given) {
	let path = given ?? defaultPath();
	if (path.includes('\0')) throw badSocket("the socket's path holds a zero byte", 'name a file');
	if (!isAbsolute(path)) path = `${process.cwd()}/${path}`;
	const bytes = Buffer.byteLength(path);
	if (bytes > PATH_BYTES_MAX) {
		throw badSocket(`the socket's path is ${bytes} bytes long, over the system's ${PATH_BYTES_MAX}: ${path}`, 'name a shorter one in ATL_SIGN_SOCK');
	}
	let entry, target;
	try {
		entry = lstatSync(path);
		target = entry.isSymbolicLink() ? statSync(path) : entry;
	} catch (error) {
		if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw noDaemon(`there is no daemon on ${path}`, path);
		throw badSocket(`the socket ${path} cannot be looked at: ${error.code}`, 'name another path in ATL_SIGN_SOCK');
	}
	const uid = process.geteuid();
	if (entry.uid !== uid || target.uid !== uid) {
		throw badSocket(`the socket ${path} belongs to another user`, 'run this as the user whose daemon it is');
	}
	if (!target.isSocket()) throw badSocket(`${path} is not a socket`, 'move that file away, or name another path in ATL_SIGN_SOCK');
	return path;
}
