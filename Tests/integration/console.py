"""The control socket of a running router, for one who may."""

import psycopg


def private(router):
    return router.directory / ".routerd"


def token(router):
    return (private(router) / "token").read_text().strip()


def control(router, **more):
    """On the control socket, as one who may."""
    options = {"host": str(private(router)), "port": 5432, "dbname": "routerd", "user": "admin",
               "password": token(router), "autocommit": True, **more}
    return psycopg.connect(**options)
