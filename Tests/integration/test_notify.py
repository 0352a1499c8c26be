"""LISTEN and NOTIFY carry process ids, which drivers compare with their own."""


def test_notification_names_the_notifying_backend(router, name):
    """With process ids made up by the router a driver could not tell its own notifications from others'."""
    with router.connect(name) as listener, router.connect(name) as notifier:
        listener.execute("LISTEN channel")
        assert notifier.info.backend_pid == notifier.execute("SELECT pg_backend_pid()").fetchone()[0]
        notifier.execute("NOTIFY channel, 'hello'")
        (notification,) = listener.notifies(timeout=5, stop_after=1)
        assert (notification.channel, notification.payload) == ("channel", "hello")
        assert notification.pid == notifier.info.backend_pid


def test_notification_to_oneself(router, name):
    """The one case where every driver compares the ids."""
    with router.connect(name) as connection:
        connection.execute("LISTEN channel")
        connection.execute("NOTIFY channel")
        (notification,) = connection.notifies(timeout=5, stop_after=1)
        assert notification.pid == connection.info.backend_pid


def test_an_idle_listener_is_told_at_once(router, name):
    """A message from a backend that no query asked for must not wait for the client's next one."""
    with router.wire() as listener, router.connect(name) as notifier:
        listener.startup("alice", name)
        listener.query("LISTEN channel")
        notifier.execute("NOTIFY channel, 'unasked'")
        listener.socket.settimeout(2)
        tag, body = listener.receive()
        assert tag == b"A" and b"unasked" in body


def test_notifications_stay_within_a_tenant(router, name):
    """Channels of the same name in two tenants have nothing to do with each other."""
    with router.connect(name + "_1") as listener, router.connect(name + "_2") as notifier:
        listener.execute("LISTEN channel")
        notifier.execute("NOTIFY channel")
        assert list(listener.notifies(timeout=0.5)) == []
