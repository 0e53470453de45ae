/** Three mistakes: each must be found, or the check of the types checks nothing. */

import {sign} from 'atl-sign';
import {signAxios} from 'atl-sign/axios';

sign({url: 'https://h/'});
const header: number = (await sign({method: 'GET', url: 'https://h/'})).authorization;
signAxios('axios');
