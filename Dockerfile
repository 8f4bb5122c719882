# One image for both services of docker-compose.yml: the versions of requirements.lock, checked
# by hash, and this checkout. Every dependency comes as a wheel, so there is no compiler in it.
FROM python:3.12-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

# A fixed uid, so that files in a volume keep their owner when the image is built again.
RUN groupadd --gid 1000 promo \
    && useradd --uid 1000 --gid 1000 --create-home promo

WORKDIR /srv/promo

# The dependencies are a layer of their own: a change to the code does not install them again.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

COPY . .
# Code belongs to root and is read only; a volume mounted over one of these two directories for
# the first time takes over its content and its owner.
RUN pip install --no-deps --no-build-isolation -e . \
    && mkdir -p /data notebooks \
    && chown -R promo:promo /data notebooks

# What writes beside the code anywhere else writes to /tmp here.
ENV PROMO_DATA=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
    PYTEST_ADDOPTS="-o cache_dir=/tmp/pytest"

USER 1000:1000
EXPOSE 5000 8888
CMD ["promo", "api", "--host", "0.0.0.0"]
