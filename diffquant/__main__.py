"""`python -m diffquant`."""

from diffquant.cli import main

main()
