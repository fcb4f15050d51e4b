"""AllegroKuka: an arm with a hand picks up cuboids from a table to hold, throw or turn them."""
