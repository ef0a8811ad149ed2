from groxy.api.replies import respond_unstored


async def test_a_reply_says_that_nobody_may_store_it():
    sent = []

    async def send(message):
        sent.append(message)

    await respond_unstored(send, b"{}", [(b"set-cookie", b"a=b")], status=201)

    assert sent == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"2"),
                (b"cache-control", b"no-store"),
                (b"set-cookie", b"a=b"),
            ],
        },
        {"type": "http.response.body", "body": b"{}"},
    ]
