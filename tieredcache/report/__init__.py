"""What ``manage.py tieredcache`` tells: found out by ``gathering``, kept in ``facts``, put into words by ``wording``."""
