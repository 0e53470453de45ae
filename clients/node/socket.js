/** Where the daemon's socket is, and whether it is ours. */

import {constants, lstatSync, readFileSync, realpathSync, statSync} from 'node:fs';
import {homedir} from 'node:os';
import {dirname, isAbsolute} from 'node:path';

import {AtlSignError} from './errors.js';

const {S_IFDIR, S_IFMT} = constants;
const S_ISVTX = 0o1000;
const PATH_BYTES_MAX = 107; // sun_path holds 108 with the zero at its end (unix(7)); older Node versions cut a longer one off

/** Return the socket's path by the one rule of every client: ATL_SIGN_SOCK, XDG_RUNTIME_DIR, /run/user, then the home folder. */
function defaultPath() {
	if (process.env.ATL_SIGN_SOCK) return process.env.ATL_SIGN_SOCK;
	// After `su` the variable names the folder of the user before.
	const run = [process.env.XDG_RUNTIME_DIR, `/run/user/${process.getuid()}`].find(isOwnFolder);
	return `${run ?? `${homedir()}/.local/state`}/atl-sign/agent.sock`;
}

function isOwnFolder(path) {
	try {
		const found = statSync(path);
		return found.isDirectory() && found.uid === process.geteuid();
	} catch {
		return false; // not there, not set, or below a folder that we cannot enter
	}
}

function isLink(path) {
	try {
		return lstatSync(path).isSymbolicLink();
	} catch {
		return false; // not there, or below a folder that we cannot enter
	}
}

const badSocket = (message, hint) => new AtlSignError({code: 'bad_socket', message, hint});

export const noDaemon = (message, path) => new AtlSignError({code: 'no_daemon', message, hint: hintFor(path, 'start it: atl-sign serve &')});

/** Return *hint*, or what to do where `atl-sign service install` linked the unit of the socket at *path*: there systemd starts the daemon. */
export function hintFor(path, hint) {
	const sockets = [process.env.XDG_RUNTIME_DIR, `/run/user/${process.getuid()}`].map(folder => `${folder}/atl-sign/agent.sock`);
	const unit = `${process.env.XDG_CONFIG_HOME || `${homedir()}/.config`}/systemd/user/atl-signd.socket`;
	return sockets.includes(path ?? defaultPath()) && isLink(unit) ? 'atl-sign service status' : hint;
}

/**
 * Return the real path of a socket that is ours, which nobody else can make lead elsewhere: Node does not tell who listens on a
 * connected socket, so the whole way to it is checked.
 *
 * Throws AtlSignError: `no_daemon` when nothing is there; `bad_socket` when what is there is no socket, not ours, or open to others.
 */
export function findSocket(given) {
	let path = given ?? defaultPath();
	if (path.includes('\0')) throw badSocket("the socket's path holds a zero byte", 'name a file');
	if (!isAbsolute(path)) path = `${process.cwd()}/${path}`;
	checkLength(path);
	let entry, target, real;
	try {
		entry = lstatSync(path);
		real = realpathSync.native(path);
		checkLength(real);
		checkWay(dirname(real));
		target = lstatSync(real);
	} catch (error) {
		if (error instanceof AtlSignError) throw error;
		if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw noDaemon(`there is no daemon on ${path}`, path);
		throw badSocket(`the socket ${path} cannot be looked at: ${error.code}`, 'name another path in ATL_SIGN_SOCK');
	}
	const uid = process.geteuid();
	if (entry.uid !== uid || target.uid !== uid) {
		throw badSocket(`the socket ${path} belongs to another user`, 'run this as the user whose daemon it is');
	}
	if (!target.isSocket()) throw badSocket(`${path} is not a socket`, 'move that file away, or name another path in ATL_SIGN_SOCK');
	return real;
}

function checkLength(path) {
	const bytes = Buffer.byteLength(path);
	if (bytes > PATH_BYTES_MAX) {
		throw badSocket(`the socket's path is ${bytes} bytes long, over the system's ${PATH_BYTES_MAX}: ${path}`, 'name a shorter one in ATL_SIGN_SOCK');
	}
}

/**
 * Throw `bad_socket` when another user could put something else in the place of *folder*, a real path, or of what is in it or above
 * it. From the root down: what a folder holds can be changed by its owner and by those who may write into it, and in a sticky one
 * (/tmp) by the owner of each entry.
 */
function checkWay(folder) {
	const uid = process.geteuid();
	const parts = folder.split('/').filter(Boolean);
	for (let depth = 0; depth <= parts.length; depth++) {
		const at = `/${parts.slice(0, depth).join('/')}`;
		const {mode, uid: owner, gid} = lstatSync(at);
		const isLast = depth === parts.length;
		const isOwn = owner === uid || (!isLast && (owner === 0 || owner === findUnmappedUid()));
		// Above the last, a user's private group, as Debian and Fedora make them, is not "others"; neither is root's.
		const isOpen = mode & 0o002 || (mode & 0o020 && (isLast || (gid !== 0 && gid !== process.getegid())));
		if ((mode & S_IFMT) !== S_IFDIR || !isOwn || (isOpen && (isLast || !(mode & S_ISVTX)))) {
			throw badSocket(`other users can change what is in ${at}, and replace your socket in ${folder}`, 'set ATL_SIGN_SOCK to a path in a folder that only you can change (mode 0700)');
		}
	}
}

/** Return the uid by which a user namespace (toolbox, bubblewrap) shows root, or undefined outside of one. */
function findUnmappedUid() {
	try {
		if (readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/).join() === '0,0,4294967295') return undefined;
		return Number(readFileSync('/proc/sys/kernel/overflowuid', 'utf8'));
	} catch {
		return undefined; // no /proc
	}
}
