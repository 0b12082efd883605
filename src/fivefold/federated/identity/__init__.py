"""Who a site is: its keys, which it makes itself and never gives away, and certificates that are good for a month."""
