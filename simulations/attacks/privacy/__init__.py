"""`fedvlp-sim attack privacy`: does the code keep what `common.privacy.mechanism` promises?"""
