from django.db import models


class Product(models.Model):
    sku = models.CharField(max_length=20, primary_key=True)
    price = models.IntegerField()
