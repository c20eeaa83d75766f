"""Requests to a site that runs as a process."""

import http.client

from tests.support import servers


def ask(port, method, path, cookie=None, *, allowed=(200, 302)):
    """One request, on a connection of its own, and so to any worker; what it answered, and the cookie it set."""
    connection = http.client.HTTPConnection(servers.HOST, port, timeout=30)
    connection.request(method, path, headers={"Cookie": cookie} if cookie else {})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    assert response.status in allowed, body
    made = response.headers["Set-Cookie"]
    return body, response.headers["Location"], made.partition(";")[0] if made else cookie
