"""What the shop adds to the ISO tables."""

from django.db import models

from example_project.geo.models import Currency, Subdivision


class Price(models.Model):
    """What a parcel to a subdivision costs."""

    subdivision = models.OneToOneField(Subdivision, models.CASCADE, primary_key=True)
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    currency = models.ForeignKey(Currency, models.PROTECT)

    def __str__(self) -> str:
        return f"{self.subdivision_id}: {self.amount} {self.currency_id}"


class Flag(models.Model):
    """A feature that can be switched on and off."""

    name = models.SlugField(primary_key=True)
    on = models.BooleanField(default=False)
    meaning = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.name
