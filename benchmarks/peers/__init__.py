"""The same join by other engines, each written as its users would write it, and what it costs them."""
