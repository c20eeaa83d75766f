"""A catalogue that uses its cache in all the ways that sites do. Its answers are texts."""

import ast
import pickle
import warnings

from django.core.cache import cache, caches
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_page
from django_redis import get_redis_connection

from catalogue.models import Product


def price(request, sku):
    """Read through the cache; saved to the database and to the cache; deleted from both."""
    if request.method == "POST":
        Product.objects.update_or_create(sku=sku, defaults={"price": int(request.POST["price"])})
        cache.set(f"price:{sku}", int(request.POST["price"]), 60)
        return HttpResponse("saved")
    if request.method == "DELETE":
        Product.objects.filter(sku=sku).delete()
        cache.delete(f"price:{sku}")
        return HttpResponse("deleted")
    found = cache.get_or_set(f"price:{sku}", lambda: Product.objects.values_list("price", flat=True).get(sku=sku), 60)
    return HttpResponse(str(found))


async def aprice(request, sku):
    """The same in async code; the database is asked for nothing."""
    if request.method == "POST":
        await cache.aset(f"price:{sku}", int(request.POST["price"]), 60)
        return HttpResponse("saved")
    return HttpResponse(str(await cache.aget(f"price:{sku}")))


def prices(request):
    """Many at once; what the cache has not, the database has."""
    wanted = request.GET.getlist("sku")
    found = cache.get_many([f"price:{sku}" for sku in wanted])
    missing = [sku for sku in wanted if f"price:{sku}" not in found]
    loaded = {f"price:{item.sku}": item.price for item in Product.objects.filter(sku__in=missing)}
    if loaded:
        cache.set_many(loaded, 60)
    return HttpResponse(" ".join(f"{sku}={(found | loaded).get(f'price:{sku}')}" for sku in wanted))


def product(request, sku):
    """A page with a cached fragment."""
    return render(request, "product.html", {"sku": sku, "price": Product.objects.get(sku=sku).price})


@cache_page(60)
def sheet(request, sku):
    """A page that is cached as a whole."""
    return HttpResponse(f"{sku} costs {Product.objects.get(sku=sku).price}")


def basket(request, item=None):
    """A session, kept in the cache."""
    items = request.session.get("items", [])
    if item is not None:
        request.session["items"] = items = [*items, item]
    return HttpResponse(" ".join(items))


def visits(request, page):
    """A counter."""
    cache.add(f"visits:{page}", 0, 60)
    return HttpResponse(str(cache.incr(f"visits:{page}")))


def may(request, user):
    """A permission: a user who was shut out must not get in."""
    if request.method == "POST":
        cache.set(f"may:{user}", request.POST["answer"], 60)
        return HttpResponse("set")
    return HttpResponse(str(cache.get(f"may:{user}")))


def order(request, number):
    """One at a time, over all workers."""
    with cache.lock(f"order:{number}", timeout=10):
        try:
            second = cache.lock(f"order:{number}", timeout=10).acquire(blocking=False)
        except TypeError:
            second = "no lock"
        return HttpResponse(f"in turn, another at the same time: {second}")


def raw(request, key):
    """Past the cache: its own connection is asked to delete the key."""
    return HttpResponse(str(get_redis_connection("default").delete(cache.make_key(key))))


def clear_local(request):
    """What sites do that keep the local tier under an alias of its own."""
    caches["local"].clear()
    return HttpResponse("cleared")


def mutate(request, key):
    """A caller that changes the value it was given."""
    given = cache.get(key)
    given.append("changed")
    return HttpResponse(repr(cache.get(key)))


class Unpicklable:
    """As a compiled thing, a lock, a generator are."""

    def __reduce__(self):
        raise pickle.PicklingError("not to be pickled")

    def __repr__(self):
        return "Unpicklable()"


def ask(request, method):
    """Any method of the cache, by name, as a shell would: its arguments are literals."""
    args, kwargs = ast.literal_eval(request.POST["args"])
    args = [Unpicklable() if argument == "Unpicklable()" else argument for argument in args]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        returned = getattr(cache, method)(*args, **kwargs)
    # django-redis 6 returns an OrderedDict, which the page on it says.
    answer = repr(dict(returned) if isinstance(returned, dict) else returned)
    return HttpResponse(" ".join([answer, *{warning.category.__name__ for warning in warned}]))
