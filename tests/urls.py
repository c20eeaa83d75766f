"""No page: the tests that need some bring them."""

urlpatterns: list[object] = []
