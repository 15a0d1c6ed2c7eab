# The tests under other OTP releases: scripts/test-otp. The Makefile at the top of the tree includes this file.
.PHONY: test-otp test-otp-all

OTP ?= 25

test-otp: ## runs the tests of the BEAM side under OTP=25, 27 or 29, in a Debian release that is set up once; needs root
	@scripts/install run
	@$(MAKE) -C c_src
	@scripts/test-otp $(OTP)

test-otp-all: ## runs them under all three, and prints the table for docs/tested.md
	@$(MAKE) test-otp OTP='25 27 29'
