from groxy.app.transports import Transports

SOCKS = "socks5://user:word@127.0.0.1:1080"


def test_accounts_with_the_same_way_out_share_their_connections():
    transports = Transports(connect_timeout_s=1)

    assert transports.to("") is transports.to("")
    assert transports.to(SOCKS) is transports.to(SOCKS)
    assert transports.to(SOCKS) is not transports.to("")


async def test_a_way_out_that_nobody_uses_any_more_is_closed():
    transports = Transports(connect_timeout_s=1)
    direct, socks = transports.to(""), transports.to(SOCKS)

    await transports.close_all_but([])

    assert transports.to("") is direct
    assert transports.to(SOCKS) is not socks
    await transports.close()


def test_the_time_for_connecting_can_be_changed_for_all():
    transports = Transports(connect_timeout_s=1)
    before = transports.to("")
    transports.set_connect_timeout(7)

    assert before.timeout.sock_connect == 7
    assert transports.to(SOCKS).timeout.sock_connect == 7


def test_a_proxy_is_not_shown():
    assert "word" not in repr(Transports(connect_timeout_s=1).to(SOCKS))
