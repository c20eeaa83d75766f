"""A shop that sends parcels to every subdivision of every country, at made-up prices."""
