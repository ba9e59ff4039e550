"""The check of our own claim: does a runtime compute what a profile promises, op by op?"""
