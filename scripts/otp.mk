# The tests under other OTP releases: scripts/test-otp. Included by the Makefile at the top of the tree.
.PHONY: test-otp test-otp-all

OTP ?= 25

test-otp: ## runs the BEAM side's tests under OTP=25, 27 or 29, in a Debian release that is set up once; needs root
	@scripts/install run
	@$(MAKE) -C c_src
	@scripts/test-otp $(OTP)

test-otp-all: ## the three of them, and prints the compatibility table
	@$(MAKE) test-otp OTP='25 27 29'
