"""A trained model in any of its forms: recognised by what a person names, run on images, measured"""
