"""Failures of making an application link at a product with an administrator's password."""

from atl_sign.base.errors import DaemonError


class WrongPasswordError(DaemonError):
    """The product does not take this user name and password."""

    code = "wrong_password"
    status = 403


class NotAdministratorError(DaemonError):
    """The product knows the user, who may not make application links."""

    code = "not_administrator"
    status = 403


class CaptchaNeededError(DaemonError):
    """After wrong passwords the product takes this user's only together with a CAPTCHA, in the browser."""

    code = "captcha_needed"
    status = 409


class WebSudoNeededError(DaemonError):
    """The product wants a secure administrator's session for this, which only a browser can have."""

    code = "websudo_needed"
    status = 409


class ApplinkExistsError(DaemonError):
    """The product has an application link with our address or our consumer key already, and another key in it."""

    code = "applink_exists"
    status = 409


class RegistrationUnsupportedError(DaemonError):
    """The product cannot make application links by these calls."""

    code = "registration_unsupported"
    status = 409
