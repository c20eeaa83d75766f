"""One model for each of the ISO tables."""

from django.db import models


class Country(models.Model):
    """ISO 3166-1."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=100)
    numeric = models.CharField(max_length=3)

    class Meta:  # noqa: D106 - Django's
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.name


class Currency(models.Model):
    """ISO 4217."""

    code = models.CharField(max_length=3, primary_key=True)
    name = models.CharField(max_length=100)
    numeric = models.CharField(max_length=3)

    class Meta:  # noqa: D106 - Django's
        verbose_name_plural = "currencies"

    def __str__(self) -> str:
        return self.name


class Subdivision(models.Model):
    """ISO 3166-2."""

    code = models.CharField(max_length=10, primary_key=True)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=100)
    country = models.ForeignKey(Country, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return self.name
