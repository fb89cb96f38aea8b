"""Proxy addresses in every form that people and tools write, and what of them may be shown."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.proxy_check import ProxyAddress, mask, parse_proxy


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "username", "password", "shown"),
    [
        ("1.2.3.4:80", "http", "1.2.3.4", 80, None, None, "1.2.3.4:80"),
        ("http://1.2.3.4:80", "http", "1.2.3.4", 80, None, None, "http://1.2.3.4:80"),
        ("https://proxy.example.com/", "https", "proxy.example.com", None, None, None, "https://proxy.example.com/"),
        ("squid", "http", "squid", None, None, None, "squid"),
        ("[2001:db8::1]:3128", "http", "2001:db8::1", 3128, None, None, "[2001:db8::1]:3128"),
        ("2001:db8::1", "http", "2001:db8::1", None, None, None, "2001:db8::1"),
        ("BÜCHER.example:80", "http", "xn--bcher-kva.example", 80, None, None, "BÜCHER.example:80"),
        ("http://u:p@1.2.3.4:80", "http", "1.2.3.4", 80, "u", "p", "http://***@1.2.3.4:80"),
        ("SOCKS5://u:p@Squid/", "socks5", "squid", None, "u", "p", "SOCKS5://***@Squid/"),
        ("socks5h://u@[::1]:1080", "socks5h", "::1", 1080, "u", None, "socks5h://***@[::1]:1080"),
        ("http://u:8080@squid:3128", "http", "squid", 3128, "u", "8080", "http://***@squid:3128"),
        ("http://u:p%40%3a%20s@1.2.3.4:80", "http", "1.2.3.4", 80, "u", "p@: s", "http://***@1.2.3.4:80"),
        ("http://u:p@s/w?#@1.2.3.4:80", "http", "1.2.3.4", 80, "u", "p@s/w?#", "http://***@1.2.3.4:80"),
        ("http://u:@1.2.3.4:80", "http", "1.2.3.4", 80, "u", "", "http://***@1.2.3.4:80"),
        ("u:p@1.2.3.4:80", "http", "1.2.3.4", 80, "u", "p", "***@1.2.3.4:80"),
        ("u:8080@1.2.3.4:80", "http", "1.2.3.4", 80, "u", "8080", "***@1.2.3.4:80"),
        ("me@mail.com:p@1.2.3.4:80", "http", "1.2.3.4", 80, "me@mail.com", "p", "***@1.2.3.4:80"),
        ("u:p@squid:3128", "http", "squid", 3128, "u", "p", "***@squid:3128"),
        ("1.2.3.4:80:u:p", "http", "1.2.3.4", 80, "u", "p", "1.2.3.4:80:***"),
        ("1.2.3.4:80:u:p@s:w%40", "http", "1.2.3.4", 80, "u", "p@s:w%40", "1.2.3.4:80:***"),
        ("1.2.3.4:80:u:p@5.6.7.8:90", "http", "1.2.3.4", 80, "u", "p@5.6.7.8:90", "1.2.3.4:80:***"),
        ("[::1]:80:u:p", "http", "::1", 80, "u", "p", "[::1]:80:***"),
        ("socks5://squid:80:u:p", "socks5", "squid", 80, "u", "p", "socks5://squid:80:***"),
        ("1.2.3.4:80@u:12345", "http", "1.2.3.4", 80, "u", "12345", "1.2.3.4:80@***"),
        ("1.2.3.4:80@u:@b.c", "http", "1.2.3.4", 80, "u", "@b.c", "1.2.3.4:80@***"),
        ("http://proxy.example.com:80:u:@b", "http", "proxy.example.com", 80, "u", "@b", "http://***"),
        ("u:8080@proxy.example.com:80", "http", "proxy.example.com", 80, "u", "8080", "***"),
        ("u:8080@squid", "http", "squid", None, "u", "8080", "***"),
        (" 1.2.3.4:80:u:p\n", "http", "1.2.3.4", 80, "u", "p", "1.2.3.4:80:***"),
    ],
)  # fmt: skip
def test_a_proxy_address_is_understood_and_masked(
    text: str, scheme: str, host: str, port: int | None, username: str | None, password: str | None, shown: str
) -> None:
    assert parse_proxy(text) == ProxyAddress(scheme, host, port, username, password)
    assert mask(text) == shown


@pytest.mark.parametrize(
    ("text", "reason", "shown"),
    [
        ("", "host is missing", ""), ("http://", "host is missing", "http://"), ("ftp://1.2.3.4:80", "scheme must be", "ftp://1.2.3.4:80"),
        ("socks4://u:p@1.2.3.4:80", "scheme must be", "socks4://***@1.2.3.4:80"), ("gopher://u:p@1.2.3.4:80", "scheme must be", "***@1.2.3.4:80"),
        ("1.2.3.4:0", "none of", "***"), ("1.2.3.4:65536", "none of", "***"), ("1.2.3.4:http", "none of", "***"), ("1.2.3", "none of", "***"),
        ("2130706433:80", "none of", "***"), ("999.1.1.1:80", "none of", "***"), ("u:p:1.2.3.4:80", "none of", "***"), ("@1.2.3.4:80", "none of", "***"),
        ("1.2.3.4:80:u", "none of", "1.2.3.4:80:***"), ("1.2.3.4:80:u:", "none of", "1.2.3.4:80:***"), ("http://1.2.3.4:80/path?token=p", "none of", "http://***"),
        ("[nonsense]:80", "none of", "***"), ("fe80::1%u:p", "none of", "***"), ("1.2.3.4 80 u p", "spaces", "***"), ("1.2.3.4;80;u;p", "none of", "***"),
        ("-x:80", "none of", "***"), ("a..b:80", "none of", "***"), (f"{'a' * 64}:80", "none of", "***"), ("http://u:%ff@1.2.3.4:80", "UTF-8", "http://***@1.2.3.4:80"),
        ("squid:3128:u:p@host:80", "more than one way", "***"), ("u:8080@squid:3128", "more than one way", "***"), ("1.2.3.4:80:::@b", "none of", "1.2.3.4:80:***"), ("http://u:1:p@squid:80", "more than one way", "http://***"), ("a.example:80@u.x:12345", "more than one way", "***"), ("u:p@::1", "none of", "***"),
        (f"u:{'p' * 256}@1.2.3.4:80", "255 bytes", "***@1.2.3.4:80"), ("u\r\n:p@1.2.3.4:80", "control", "***@1.2.3.4:80"), ("u:p@", "none of", "***"),
        ("http://1.2.3.4:80@u:12345", "none of", "http://***"), ("\x00", "control", "***"), ("u:p@h:80@", "none of", "***"),
    ],
)  # fmt: skip
def test_what_is_no_proxy_address_is_refused_with_a_reason_and_hidden(text: str, reason: str, shown: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        parse_proxy(text)
    assert error.value.__cause__ is None
    assert mask(text) == shown


def test_a_proxys_repr_keeps_its_credentials_to_itself() -> None:
    assert "canary" not in repr(parse_proxy("http://canary1:canary2@1.2.3.4:80"))


HOSTS = st.sampled_from(["1.2.3.4", "proxy.example.com", "squid", "[2001:db8::1]", "localhost"])
PLAIN = string.ascii_letters + string.digits + "-._~!$&'()*+,;="
ANY_SIGNS = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=40) | st.text(
    PLAIN + ":@/[]%?#", min_size=1, max_size=40
)
FORMS = ("{scheme}{u}:{p}@{end}", "{u}:{p}@{end}", "{end}:{u}:{p}", "{scheme}{end}:{u}:{p}", "{end}@{u}:{p}")


@given(
    form=st.sampled_from(FORMS), scheme=st.sampled_from(["http://", "https://", "socks5://", "socks5h://", "socks4://"]), host=HOSTS,
    port=st.integers(1, 65535), username=ANY_SIGNS, password=ANY_SIGNS,
)  # fmt: skip
def test_the_mask_of_any_form_never_contains_the_password(
    form: str, scheme: str, host: str, port: int, username: str, password: str
) -> None:
    end = f"{host}:{port}"
    shown = mask(form.format(scheme=scheme, end=end, u=username, p=password))
    public = {f"{scheme}***@{end}", f"***@{end}", f"{end}:***", f"{scheme}{end}:***", f"{end}@***", f"{scheme}***", "***"}
    assume(not any(password in text for text in public))
    assert password not in shown


WORDS = st.text(PLAIN, min_size=3, max_size=20).filter(lambda word: any(sign.isalpha() for sign in word))


@given(form=st.sampled_from(FORMS[:4]), host=HOSTS, port=st.integers(1, 65535), username=WORDS, password=WORDS)
def test_a_mask_shows_where_the_proxy_is_and_a_parse_finds_everything(
    form: str, host: str, port: int, username: str, password: str
) -> None:
    text = form.format(scheme="http://", end=f"{host}:{port}", u=username, p=password)
    assert mask(text) == form.replace("{u}:{p}", "***").format(scheme="http://", end=f"{host}:{port}")
    assert parse_proxy(text) == ProxyAddress("http", host.strip("[]"), port, username, password)


@given(text=st.text(max_size=60) | st.text(PLAIN + ":@/[]%?# ", max_size=60))
def test_any_text_is_an_address_or_refused_and_masked_the_same_twice(text: str) -> None:
    shown = mask(text)
    assert mask(shown) in (shown, "***", shown.split("://")[0] + "://***")
    try:
        proxy = parse_proxy(text)
    except ValueError as error:
        assert len(text.strip()) < 4 or text.strip() not in str(error)
    else:
        assert (shown == text) == (proxy.username is None)
