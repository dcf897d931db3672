"""What people look at: the report of a lifted program, its picture, and what the machine offers.

Imports everything below; nothing but the public faces imports it.
"""
