"""The long run: many kills, copies and examples (`make chaos`). What it is made of serves short editions too."""
