"""Signing in as a browser does, for benchmarks of pages and live tables."""

import http.cookiejar
import re
import urllib.parse
import urllib.request


def sign_in(url: str, username: str, password: str) -> str:
    """The Cookie header of a signed-in browser. Raises RuntimeError when the login was refused."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = browser.open(f"{url}/login", timeout=10).read().decode()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="csrf_token"', page)
    if token is None:
        raise RuntimeError("the login page has no csrf_token")
    form = urllib.parse.urlencode({"username": username, "password": password, "csrf_token": token[1] or token[2]}).encode()
    request = urllib.request.Request(f"{url}/login", form, {"Origin": url, "Referer": f"{url}/login"})
    answer = browser.open(request, timeout=10)
    if answer.geturl().rstrip("/").endswith("/login"):
        raise RuntimeError(f"{username} could not sign in")
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
